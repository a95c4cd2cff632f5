import type { Upstream } from './upstream.ts'

/** What a call may be. `counts`: its answer uses tokens. */
export interface Route {
  /** Follows the base path of the API. */
  path: string
  counts: boolean
}

interface Allowed {
  method: 'GET' | 'POST'
  path: RegExp
  counts: boolean
}

/** No percent sign, no dot segments, no doubled slash: what matches means the same to every server. */
const ROUTES: Readonly<Record<Upstream['dialect'], readonly Allowed[]>> = {
  messages: [
    { method: 'POST', path: /^\/v1\/messages$/, counts: true },
    { method: 'POST', path: /^\/v1\/messages\/count_tokens$/, counts: false },
    { method: 'GET', path: /^\/v1\/models$/, counts: false },
    { method: 'GET', path: /^\/v1\/models\/[A-Za-z0-9][\w.@-]*$/, counts: false },
  ],
  bedrock: [
    // Ids of models and inference profiles hold colons and slashes, which the CLI writes as %3A and %2F.
    {
      method: 'POST',
      path: /^\/model\/[A-Za-z0-9](?:[\w.:-]|%3A|%2F)*\/(?:invoke|invoke-with-response-stream)$/i,
      counts: true,
    },
    { method: 'POST', path: /^\/model\/[A-Za-z0-9](?:[\w.:-]|%3A|%2F)*\/count-tokens$/i, counts: false },
  ],
  vertex: [
    {
      method: 'POST',
      path: /^\/projects\/[a-z0-9:.-]+\/locations\/[a-z0-9-]+\/publishers\/anthropic\/models\/[A-Za-z0-9][\w.@-]*:(?:rawPredict|streamRawPredict)$/,
      counts: true,
    },
  ],
}

const VERTEX_COUNT = /\/models\/count-tokens:rawPredict$/

/** `?beta=true`, and how lists of models are paged. */
const QUERY = /^(?:\?[\w=&.-]{0,200})?$/

/** The route of a call below `base`, a path without a slash at its end; undefined for anything that no agent needs. */
export function routeOf(method: string, target: string, base: string, upstream: Upstream): Route | undefined {
  if (!target.startsWith(`${base}/`)) return undefined
  const rest = target.slice(base.length)
  const mark = rest.indexOf('?')
  const [path, query] = mark === -1 ? [rest, ''] : [rest.slice(0, mark), rest.slice(mark)]
  const allowed = ROUTES[upstream.dialect].find((one) => one.method === method && one.path.test(path))
  if (allowed === undefined || !QUERY.test(query)) return undefined
  if (upstream.project !== undefined && !path.startsWith(`/projects/${upstream.project}/`)) return undefined
  return { path: rest, counts: allowed.counts && !VERTEX_COUNT.test(path) }
}
