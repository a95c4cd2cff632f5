import http from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import type { Clock } from '../clock.ts'
import { RemoteRelay } from '../egress/remote-relay.ts'
import { TrafficReport } from '../egress/traffic.ts'
import type { Traffic } from '../egress/traffic.ts'
import { hashOf } from './grants.ts'
import type { Charged, Order } from './protocol.ts'
import { refuse } from './reply.ts'

/** The remotes of one worker. */
interface Owner {
  readonly worker: string
  charged: Charged
  readonly relays: ReadonlyMap<string, RemoteRelay>
  readonly report: TrafficReport
}

/** The local addresses of all workers, told apart by a token for each. */
export class Remotes {
  readonly #clock: Clock
  readonly #tell: (owner: Pick<Owner, 'worker' | 'charged'>, traffic: Traffic[]) => void
  readonly #owners = new Map<string, Owner>()
  #agents: { http: http.Agent; https: https.Agent } | undefined

  constructor(clock: Clock, tell: (owner: Pick<Owner, 'worker' | 'charged'>, traffic: Traffic[]) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  /** `proxies`: how a process that is not confined reaches the network (`HTTPS_PROXY`, `NO_PROXY`). */
  begin(proxies: Readonly<Record<string, string>>): void {
    const options = { keepAlive: true, proxyEnv: proxies } as const
    this.#agents ??= { http: new http.Agent(options), https: new https.Agent(options) }
  }

  add({ worker, charged, confined, remotes }: Omit<Extract<Order, { do: 'remotes' }>, 'do'>): void {
    this.remove(worker)
    const agents = this.#agents
    if (agents === undefined) return
    const report = new TrafficReport(this.#clock, (traffic) => this.#tell(owner, traffic))
    const relays = remotes.map(({ remote, tokenHash }): [string, RemoteRelay] => [
      tokenHash,
      new RemoteRelay({ remote, confined, agents, over: (place, connection) => report.add(place, connection) }),
    ])
    const owner: Owner = { worker, charged, relays: new Map(relays), report }
    this.#owners.set(worker, owner)
  }

  bind(worker: string, session: string): void {
    const owner = this.#owners.get(worker)
    if (owner !== undefined) owner.charged = { ...owner.charged, session }
  }

  /** Ends a worker's addresses, and what it has under way there. */
  remove(worker: string): void {
    const owner = this.#owners.get(worker)
    if (owner === undefined) return
    this.#owners.delete(worker)
    for (const relay of owner.relays.values()) relay.close()
    owner.report.flush()
  }

  /** Answers a request that brings the token of a remote; on a listener of one worker, only of its own. False: it is not for a remote. */
  serve(request: IncomingMessage, response: ServerResponse, path: string, only?: string): boolean {
    const owners = only === undefined ? [...this.#owners.values()] : [this.#owners.get(only)]
    const hashes = tokensIn(request.headers).map((token) => hashOf(token).toString('hex'))
    const relay = hashes
      .flatMap((hash) => owners.map((owner) => owner?.relays.get(hash)))
      .find((one) => one !== undefined)
    if (relay !== undefined) void relay.pass(request, response, path)
    else if (only !== undefined && this.#owners.has(only))
      refuse(response, 401, 'this is not the token of a remote of this process')
    else return false
    return true
  }
}

/** MCP clients send a bearer token; programs that take a URL with a user send its password. */
function tokensIn({ authorization = '' }: IncomingHttpHeaders): string[] {
  const [, scheme = '', value = ''] = /^(Bearer|Basic) (.+)$/i.exec(authorization) ?? []
  if (scheme.toLowerCase() === 'bearer') return [value]
  const [, password] = /^[^:]*:(.*)$/s.exec(Buffer.from(value, 'base64').toString('utf8')) ?? []
  return password === undefined ? [] : [password]
}
