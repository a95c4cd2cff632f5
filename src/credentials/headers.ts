import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'

/** What an agent may say to the API. Its own credential, its encodings and what belongs to one connection are not among it. */
const SENT =
  /^(?:accept|content-type|content-length|user-agent|traceparent|tracestate|x-app|x-client-request-id|(?:anthropic|x-stainless|x-claude|x-amzn-bedrock)-[\w-]+)$/

/** What belongs to one connection, and what would let the API leave state in an agent. */
const KEPT_BACK = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'set-cookie',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** The headers of a call as they go to the API, without a credential. */
export function sentOn(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const sent: OutgoingHttpHeaders = {}
  for (const [name, value] of Object.entries(headers)) if (SENT.test(name)) sent[name] = value
  // Compressed, an answer could not be counted.
  sent['accept-encoding'] = 'identity'
  return sent
}

/** The headers of an answer as they go to the agent. */
export function passedBack(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !KEPT_BACK.has(name)))
}

/** The tokens that a call brings, one for each header that may hold one. */
export function tokensOf({ 'x-api-key': key, authorization }: IncomingHttpHeaders): string[] {
  const bearer = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1]
  return [typeof key === 'string' ? key : undefined, bearer].filter((token) => token !== undefined)
}
