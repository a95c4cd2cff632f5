import type { Clock } from '../clock.ts'
import type { HostDirectory } from '../store/store.ts'
import { reachableAddress } from './address.ts'
import { KnownOwners } from './known-owners.ts'
import type { Membership } from './membership.ts'
import { PeerClient } from './peer-client.ts'
import type { Peer, PeerAnswer, PeerCall } from './peer-client.ts'
import type { PeerPort, PeerService } from './peer-port.ts'

/** Paths that hosts ask each other for; all others are those of their HTTP servers. */
const OWN = '/-/'

const LARGEST_ANSWER = 1024

/** An answer to a host that asks about a session comes within this time, in milliseconds. */
const ASK_MS = 10_000

/** What one host asks another one. */
export interface PeerQuestion {
  /** `release`: give the session back if nothing goes on with it. `interrupt`: stop the turn that runs. */
  do: 'release' | 'interrupt'
  tenant: string
  key: string
  uid: string
}

/** `done`, or why not. `busy`: a turn runs; ask again. `refused`: it will not be done, or the host cannot be reached. */
export type PeerReply = 'done' | 'busy' | 'refused'

export interface PeersContext {
  clock: Clock
  membership: Membership
  directory: HostDirectory
  port: PeerPort
  /** The shared secret. */
  secret: string
  trouble: (message: string, error: unknown) => void
}

/** Where a session is: its owner, or one that may claim it when this host may not. `free`: this host may claim it. */
export type SessionPlace = 'here' | 'free' | { peer: Peer } | { unreachable: string }

/** The other hosts: where their sessions are, and what they are asked. */
export class Peers {
  readonly #context: PeersContext
  readonly #client: PeerClient
  readonly #owners: KnownOwners
  #serve: PeerService | undefined
  #answer: ((question: PeerQuestion) => Promise<PeerReply>) | undefined
  #told = false

  constructor(context: PeersContext) {
    this.#context = context
    const { membership, port, secret: key } = context
    this.#owners = new KnownOwners(context.clock)
    const shared = { key, id: () => membership.id, now: () => membership.storeTime }
    this.#client = new PeerClient(shared)
    port.attach({
      ...shared,
      serve: (request, from) => this.#take(request, from),
      refused: (why, from) => this.#refused(why, from),
    })
  }

  /** Questions of other hosts about sessions go there. Until then, they are refused. */
  answer(answer: (question: PeerQuestion) => Promise<PeerReply>): void {
    this.#answer = answer
  }

  /** Requests of other hosts that are for the HTTP server go there. */
  serve(service: PeerService): void {
    this.#serve = service
  }

  /** Who has a session, as the store says. Rejects with StoreError. */
  async placeOf(tenant: string, key: string): Promise<SessionPlace> {
    const { membership, directory } = this.#context
    const host = await directory.hostOf(tenant, key, membership.id)
    if (host === undefined) return 'free'
    const { id, place } = host
    if (id === membership.id) return 'here'
    const address = reachableAddress(host.address)
    if (address === undefined) return { unreachable: place }
    const peer = { id, place, address }
    this.#owners.record(tenant, key, peer)
    return { peer }
  }

  /** How many sessions a tenant has at all hosts, counted up to `atMost`. Rejects with StoreError. */
  countSessions(tenant: string, atMost: number): Promise<number> {
    return this.#context.directory.countSessions(tenant, atMost)
  }

  /** Gives a job to this host for a time, in milliseconds. False: another host has it. Rejects with StoreError. */
  takeJob(name: string, forMs: number): Promise<boolean> {
    const { membership, directory } = this.#context
    return directory.takeJob(name, membership.id, forMs)
  }

  /** Who had a session when the store was last asked, at most 10 s ago. That host answers 421 if it has lost the session since. */
  knownOwner(tenant: string, key: string): Peer | undefined {
    return this.#owners.get(tenant, key)
  }

  /** The store is asked for the owner the next time. */
  forgetOwner(tenant: string, key: string): void {
    this.#owners.forget(tenant, key)
  }

  /** Sends another host a request for its HTTP server. Never rejects. */
  call(peer: Peer, call: PeerCall): Promise<PeerAnswer> {
    return this.#client.call(peer, call)
  }

  /** Asks the host of a session. Rejects with StoreError. */
  async ask(question: PeerQuestion): Promise<PeerReply> {
    const place = await this.placeOf(question.tenant, question.key)
    if (typeof place === 'string' || !('peer' in place)) return 'refused'
    const late = new AbortController()
    const cancel = this.#context.clock.after(ASK_MS, () => late.abort())
    try {
      return await this.#ask(place.peer, question, late.signal)
    } finally {
      cancel()
    }
  }

  async #ask(peer: Peer, question: PeerQuestion, signal: AbortSignal): Promise<PeerReply> {
    const { response } = await this.#client.call(peer, {
      method: 'POST',
      path: `${OWN}${question.do}`,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(question)),
      signal,
    })
    if (response === undefined) return 'refused'
    let text: string = ''
    try {
      for await (const piece of response.setEncoding('utf8')) {
        text += String(piece)
        if (text.length > LARGEST_ANSWER) break
      }
    } catch {
      return 'refused'
    }
    if (response.statusCode !== 200) return 'refused'
    return text === 'done' || text === 'busy' ? text : 'refused'
  }

  /** A host is gone: requests to it end. */
  departed(id: string): void {
    this.#owners.forgetHost(id)
    this.#client.forget(id)
  }

  async close(): Promise<void> {
    this.#client.close()
    await this.#context.port.close()
  }

  async #take(request: Request, from: { id: string }): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (!pathname.startsWith(OWN)) return (await this.#serve?.(request, from)) ?? new Response(null, { status: 501 })
    const question = (await request.json()) as PeerQuestion
    if (`${OWN}${question.do}` !== pathname) return new Response(null, { status: 400 })
    return new Response((await this.#answer?.(question)) ?? 'refused')
  }

  /** Once: hosts with different secrets, or clocks of the store that differ, would fill the log. */
  #refused(why: string, from: string): void {
    if (this.#told || why === 'elsewhere') return
    this.#told = true
    this.#context.trouble(
      `a request at the port for other hosts was refused (${why}, from ${from}): give all hosts the same cluster.secret`,
      undefined,
    )
  }
}
