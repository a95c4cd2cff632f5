import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** The header that proves that another host sent a request. */
export const SIGNATURE = 'x-claude-agent-pool-peer'

/** A request is taken for so long before and after the time that it names: clocks of hosts are told by the store, and beats by their delay. */
export const WINDOW_MS = 10_000

/** Requests of the last window that are remembered, so that none is taken twice. */
const MOST_REMEMBERED = 200_000

/** What Node adds or changes on the way. Everything else is signed. */
const UNSIGNED = new Set([
  SIGNATURE,
  'host',
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
  'expect',
  'date',
])

/** What is signed of a request. */
export interface SignedRequest {
  method: string
  /** With its query. */
  path: string
  headers: IncomingHttpHeaders
  /** SHA-256 of the body, in hex. */
  body: string
  /** The hosts, by their ids. */
  from: string
  to: string
  /** Milliseconds since the epoch, by the store. */
  at: number
  nonce: string
}

/** Why a request is not taken. `elsewhere`: it was meant for another host, or for what this host was before. */
export type Refusal = 'unsigned' | 'forged' | 'elsewhere' | 'stale' | 'repeated'

/** The proof that a request has brought, and what it says. */
export interface Proof extends Pick<SignedRequest, 'body' | 'from' | 'to' | 'at' | 'nonce'> {
  mac: string
}

const sha256 = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('hex')

/** The digest of a body that was sent whole. */
export const digestOf = (body: Uint8Array | undefined): string => sha256(body ?? '')

const headersDigest = (headers: IncomingHttpHeaders): string =>
  sha256(
    JSON.stringify(
      Object.entries(headers)
        .filter(([name, value]) => value !== undefined && !UNSIGNED.has(name))
        .toSorted(([a], [b]) => (a < b ? -1 : 1)),
    ),
  )

function macOf(key: string, request: SignedRequest): Buffer {
  const { method, path, headers, body, from, to, at, nonce } = request
  // As JSON, so that no field runs into the next one.
  return createHmac('sha256', key)
    .update(JSON.stringify(['claude-agent-pool 1', method, path, headersDigest(headers), body, from, to, at, nonce]))
    .digest()
}

/** The header for a request. */
export function sign(key: string, request: Omit<SignedRequest, 'nonce'>): string {
  const nonce = randomBytes(16).toString('hex')
  const { body, from, to, at } = request
  const mac = macOf(key, { ...request, nonce }).toString('hex')
  return `v=1 from=${from} to=${to} at=${at} nonce=${nonce} body=${body} mac=${mac}`
}

const FORM =
  /^v=1 from=(\d{1,19}) to=(\d{1,19}) at=(\d{1,16}) nonce=([\da-f]{32}) body=([\da-f]{64}) mac=([\da-f]{64})$/

/** The proof of a header; undefined if it has none. */
export function readProof(header: string | string[] | undefined): Proof | undefined {
  const [, from, to, at, nonce, body, mac] = (typeof header === 'string' ? FORM.exec(header) : null) ?? []
  if (from === undefined || to === undefined || nonce === undefined || body === undefined || mac === undefined)
    return undefined
  return { from, to, at: Number(at), nonce, body, mac }
}

/** Checks the requests of other hosts. */
export class Verifier {
  readonly #key: string
  /** Nonces of requests, in two halves: the older one is forgotten when it is older than the window. */
  #recent = new Set<string>()
  #before = new Set<string>()
  #recentSince = -Infinity

  constructor(key: string) {
    this.#key = key
  }

  /** Undefined: another host sent the request to this one, now, for the first time. The body is still to be compared. */
  refusal(
    request: Pick<SignedRequest, 'method' | 'path' | 'headers'>,
    { id, now }: { id: string; now: number },
  ): Refusal | undefined {
    const proof = readProof(request.headers[SIGNATURE])
    if (proof === undefined) return 'unsigned'
    if (!timingSafeEqual(macOf(this.#key, { ...request, ...proof }), Buffer.from(proof.mac, 'hex'))) return 'forged'
    if (proof.to !== id) return 'elsewhere'
    if (Math.abs(now - proof.at) > WINDOW_MS) return 'stale'
    return this.#isNew(proof.nonce, now) ? undefined : 'repeated'
  }

  /** Only nonces of this host's peers come so far. When there are too many to remember, the next ones are refused. */
  #isNew(nonce: string, now: number): boolean {
    if (Math.abs(now - this.#recentSince) > 2 * WINDOW_MS) {
      this.#before = this.#recent
      this.#recent = new Set()
      this.#recentSince = now
    }
    if (this.#recent.has(nonce) || this.#before.has(nonce) || this.#recent.size >= MOST_REMEMBERED) return false
    this.#recent.add(nonce)
    return true
  }
}
