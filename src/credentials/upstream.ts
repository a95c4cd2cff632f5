import type { ServiceAccount } from './signing/service-account.ts'

/** How calls to the real API prove who pays for them. */
export type Auth =
  | { kind: 'headers'; apiKey?: string | undefined; bearer?: string | undefined }
  | {
      kind: 'sigv4'
      region: string
      accessKeyId: string
      secretAccessKey: string
      sessionToken?: string | undefined
    }
  | ({ kind: 'service-account' } & ServiceAccount)

/** The paths of an API: Anthropic's own (Foundry has the same), Bedrock's or Vertex AI's. */
export type Dialect = 'messages' | 'bedrock' | 'vertex'

/** The real API of one worker, with its credential. Only the proxy process and the host that starts it hold one. */
export interface Upstream {
  dialect: Dialect
  /** Absolute, without a slash at its end. */
  baseUrl: string
  /** Vertex AI: calls go to the host of the location that their path names. */
  byLocation?: boolean
  /** Vertex AI: the only project that calls may name. */
  project?: string | undefined
  auth: Auth
}

const trimmed = (path: string): string => path.replace(/\/+$/, '')

/** The path of a base URL, without a slash at its end. */
export const basePath = (baseUrl: string): string => trimmed(new URL(baseUrl).pathname)

/** The host that serves a location of Vertex AI. */
export function vertexBase(location: string): string {
  if (location === 'global') return 'https://aiplatform.googleapis.com/v1'
  if (location === 'us' || location === 'eu') return `https://aiplatform.${location}.rep.googleapis.com/v1`
  return `https://${location}-aiplatform.googleapis.com/v1`
}

/** Where a call goes: `path` follows the base path and starts with a slash. */
export function targetOf({ baseUrl, byLocation }: Upstream, path: string): URL {
  const location = byLocation === true ? /\/locations\/([a-z0-9-]+)\//.exec(path)?.[1] : undefined
  return new URL(trimmed(location === undefined ? baseUrl : vertexBase(location)) + path)
}
