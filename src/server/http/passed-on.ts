import { createHash } from 'node:crypto'
import type { Context } from 'hono'
import type { Session, SessionEvent } from '../../index.ts'
import type { Mint, PassedOn, ServerEnv } from '../context.ts'

/** What hosts say to each other beside what the client has said. A client that writes these headers says nothing by them. */
export const SAID = {
  requestId: 'x-claude-agent-pool-request',
  seed: 'x-claude-agent-pool-seed',
  repeat: 'x-claude-agent-pool-repeat',
  reopens: 'x-claude-agent-pool-reopens',
  /** Of an answer: the id behind which its stream is opened again while it has shown none. */
  position: 'x-claude-agent-pool-position',
} as const

const OURS = 'x-claude-agent-pool-'

/** Headers of one connection, and headers that the edge handles. */
const LEFT_OUT = new Set([
  'host',
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'expect',
  'origin',
  'accept-encoding',
])

const LEFT_OUT_OF_ANSWERS = new Set([...LEFT_OUT, 'date', 'request-id'])

/** The headers of a client's request for another host. */
export function headersFor(
  headers: Headers,
  { requestId, mint, reopens }: Omit<PassedOn, 'from'>,
): Record<string, string> {
  const passed: Record<string, string> = {}
  for (const [name, value] of headers) if (!LEFT_OUT.has(name) && !name.startsWith(OURS)) passed[name] = value
  passed[SAID.requestId] = requestId
  passed[SAID.seed] = mint.seed
  if (mint.isRepeat) passed[SAID.repeat] = '1'
  if (reopens) passed[SAID.reopens] = '1'
  return passed
}

/** The headers of another host's answer for the client. */
export function headersOf(headers: Readonly<Record<string, string | string[] | undefined>>): Headers {
  const answer = new Headers()
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined && !LEFT_OUT_OF_ANSWERS.has(name) && !name.startsWith(OURS))
      answer.set(name, Array.isArray(value) ? value.join(', ') : value)
  return answer
}

/** What another host has said with a request that it passes on. */
export const readPassedOn = (headers: Headers, from: string): PassedOn => ({
  from,
  requestId: headers.get(SAID.requestId) ?? '',
  mint: { seed: headers.get(SAID.seed) ?? '', isRepeat: headers.has(SAID.repeat) },
  reopens: headers.has(SAID.reopens),
})

/** True for a request whose events have the same ids each time that it is tried: what an earlier try has added is not added again. */
export const isRepeatable = ({ req, var: { mint } }: Context<ServerEnv>): boolean =>
  mint !== undefined && req.method === 'POST' && /\/(events|messages)$/.test(req.path)

/** Derives the id of an event from its index in the request. */
export const mintedId = ({ seed }: Mint, index: number): string =>
  `sevt_${createHash('sha256').update(`${seed}/${index}`).digest('hex').slice(0, 32)}`

/** A request is repeated within seconds: what it has added is among the newest events of its kind. */
const LOOKED_AT = 100

const ADDED = ['user.message', 'user.interrupt', 'user.tool_confirmation', 'user.custom_tool_result', 'system.message']

/** The event of that id, if an earlier try of a request has added it. */
export async function storedEvent(session: Session, id: string): Promise<SessionEvent | undefined> {
  const recent = await session.history({ types: ADDED, descending: true, limit: LOOKED_AT })
  return recent.find(({ event }) => event.id === id)?.event
}
