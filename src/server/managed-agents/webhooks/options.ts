import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { ConfigError } from '../../../errors.ts'
import { anyAddresses, publicAddresses } from '../../outbound/public-fetch.ts'
import type { Dial } from '../../outbound/public-fetch.ts'
import { WEBHOOK_EVENTS } from './event-types.ts'
import type { WebhookEventType } from './event-types.ts'
import { readSigningKey } from './signing.ts'

/** Where a server sends events to. */
export interface WebhookOptions {
  /** `https:`; with `allowPrivate` also `http:`. */
  url: string
  /** `whsec_` and 24 to 64 bytes in base64. Of several each signs, so that a receiver can change from one to the next. */
  secret?: string | readonly string[] | undefined
  /** A file with the secret, or with several, one a line. It is read at the start, and again on SIGHUP. */
  secretFile?: string | undefined
  /** Default: all that there are. */
  events?: readonly WebhookEventType[] | undefined
  /** Whether the address may be one of this machine or of a private network. Default `false`. */
  allowPrivate?: boolean | undefined
}

/** Endpoints by name. */
export type WebhooksOption = Readonly<Record<string, WebhookOptions>>

const MOST_ENDPOINTS = 16

/** The shape of `webhooks`. */
export const webhooksOption: z.ZodType<WebhooksOption> = z
  .record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, 'is no name: letters, digits, _ and -, 64 at most'),
    z.strictObject({
      url: z.url({ protocol: /^https?$/, error: 'is not an http(s) URL' }).max(2_048),
      secret: z.union([z.string(), z.array(z.string()).min(1).max(4)]).optional(),
      secretFile: z.string().min(1).optional(),
      events: z.array(z.enum(WEBHOOK_EVENTS)).min(1).optional(),
      allowPrivate: z.boolean().optional(),
    }),
  )
  .refine((all) => Object.keys(all).length <= MOST_ENDPOINTS, { error: `are more than ${MOST_ENDPOINTS}` })

/** One place that events go to. */
export interface Endpoint {
  /** Unique among all endpoints. */
  id: string
  name: string
  /** Whose it is; undefined: the operator's, for the events of all tenants. */
  tenant: string | undefined
  url: URL
  keys: readonly Buffer[]
  events: ReadonlySet<WebhookEventType>
  dial: Dial
}

interface ManagedWebhooks {
  webhooks?: WebhooksOption | undefined
  tenants?: Readonly<Record<string, { webhooks?: WebhooksOption | undefined }>> | undefined
}

/** The endpoints of `managedAgents`. Reads files of secrets. Throws ConfigError. */
export function readEndpoints({ webhooks = {}, tenants = {} }: ManagedWebhooks = {}): Endpoint[] {
  const place = 'server.managedAgents'
  return [
    ...Object.entries(webhooks).map(([name, options]) => toEndpoint(`${place}.webhooks`, name, undefined, options)),
    ...Object.entries(tenants).flatMap(([tenant, own]) =>
      Object.entries(own.webhooks ?? {}).map(([name, options]) =>
        toEndpoint(`${place}.tenants.${tenant}.webhooks`, name, tenant, options),
      ),
    ),
  ]
}

function toEndpoint(place: string, name: string, tenant: string | undefined, options: WebhookOptions): Endpoint {
  const { url: text, events = WEBHOOK_EVENTS, allowPrivate = false } = options
  const url = new URL(text)
  if (url.username !== '' || url.password !== '')
    throw new ConfigError(`${place}.${name}.url`, 'has a user or a password; receivers check the signature instead')
  if (url.protocol !== 'https:' && !allowPrivate)
    throw new ConfigError(`${place}.${name}.url`, 'must be https; http is for allowPrivate alone')
  return {
    id: tenant === undefined ? `all/${name}` : `own/${name}`,
    name,
    tenant,
    url,
    keys: secretsOf(`${place}.${name}`, options).map(([path, secret]) => readSigningKey(path, secret)),
    events: new Set(events),
    dial: allowPrivate ? anyAddresses : publicAddresses,
  }
}

function secretsOf(place: string, { secret, secretFile }: WebhookOptions): [path: string, secret: string][] {
  if ((secret === undefined) === (secretFile === undefined))
    throw new ConfigError(
      `${place}.secret`,
      'is needed: give secret, secretFile, or CLAUDE_AGENT_POOL_WEBHOOK_SECRETS, and only one of them',
    )
  if (secretFile === undefined) return [secret ?? []].flat().map((each) => [`${place}.secret`, each])
  const path = `${place}.secretFile`
  const lines = readLines(path, secretFile)
  if (lines.length === 0 || lines.length > 4) throw new ConfigError(path, 'has no secret, or more than 4')
  return lines.map((line) => [path, line])
}

function readLines(path: string, file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '')
  } catch (cause) {
    throw new ConfigError(path, `${file} cannot be read: ${(cause as Error).message}`, { cause })
  }
}
