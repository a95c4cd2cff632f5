import http from 'node:http'
import type {
  ClientRequest,
  IncomingHttpHeaders,
  IncomingMessage,
  OutgoingHttpHeaders,
  ServerResponse,
} from 'node:http'
import https from 'node:https'
import { isIP } from 'node:net'
import type { Socket } from 'node:net'
import { pipeline } from 'node:stream'
import { lookupOf, publicTarget } from '../addresses.ts'
import type { Resolve } from '../addresses.ts'
import type { Remote } from '../options/remotes.ts'
import { withoutHops } from './hops.ts'
import { placeOfUrl, textOf } from './rules.ts'
import type { Place } from './rules.ts'
import type { Connection } from './traffic.ts'

/** Bytes of one request: a push of a large repository fits. Nothing of it is held. */
const MAX_BODY_BYTES = 2 ** 30
const CONNECT_MS = 10_000
/** A request on which nothing comes in either direction is ended. */
const IDLE_MS = 10 * 60_000

/** Requests of one remote at a time. */
const MAX_RUNNING = 64

type Lookup = ReturnType<typeof lookupOf> | undefined

export interface RemoteRelayOptions {
  remote: Remote
  /** Names must have public addresses, as everywhere that the process may go. */
  confined: boolean
  /** Connections that are kept for other processes, when the process is not confined. */
  agents: { http: http.Agent; https: https.Agent }
  /** Called when a request is over, or was not passed on. */
  over: (place: Place, connection: Connection) => void
  /** Default: the name servers of the machine. */
  resolve?: Resolve | undefined
  maxBodyBytes?: number
}

/** Where a request goes; or why it is refused, with a status. */
type Aim = { url: URL } | { status: number; problem: string }

/** Passes requests at a local address on to one place, with a credential that only this process has. */
export class RemoteRelay {
  readonly #options: RemoteRelayOptions
  readonly #place: Place
  readonly #running = new Set<() => void>()
  #closed = false

  constructor(options: RemoteRelayOptions) {
    this.#options = options
    this.#place = placeOfUrl(new URL(options.remote.url))
  }

  /** `path`: that of the local address, with its query. */
  async pass(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    const aim = aimOf(this.#options.remote, path)
    if ('problem' in aim) return this.#refuse(response, aim.status, aim.problem)
    const { maxBodyBytes = MAX_BODY_BYTES } = this.#options
    const tooLarge = `a request has at most ${maxBodyBytes} bytes here`
    if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) return this.#refuse(response, 413, tooLarge)
    if (this.#running.size >= MAX_RUNNING)
      return this.#refuse(response, 429, `at most ${MAX_RUNNING} requests at a time`)
    const way = await this.#way()
    if ('problem' in way) return this.#refuse(response, way.status, way.problem)
    if (response.destroyed || this.#closed) return void response.destroy()
    this.#send(request, response, { url: aim.url, lookup: way.lookup, maxBodyBytes, tooLarge })
  }

  /** Ends what is under way. */
  close(): void {
    this.#closed = true
    for (const end of this.#running) end()
  }

  /** Resolves a name once, as for every other place of a confined process: what is found is dialled. */
  async #way(): Promise<{ lookup: Lookup } | { status: number; problem: string }> {
    const { confined, resolve } = this.#options
    const { host } = this.#place
    if (!confined || isIP(host) !== 0) return { lookup: undefined }
    const target = await publicTarget(host, resolve)
    if ('problem' in target) return { status: 403, problem: target.problem }
    if (target.addresses.length === 0) return { status: 502, problem: `${host} does not resolve` }
    return { lookup: lookupOf(target.addresses) }
  }

  #send(
    request: IncomingMessage,
    response: ServerResponse,
    { url, lookup, maxBodyBytes, tooLarge }: { url: URL; lookup: Lookup; maxBodyBytes: number; tooLarge: string },
  ): void {
    const { remote, confined, agents } = this.#options
    const kind = url.protocol === 'https:' ? 'https' : 'http'
    const onward = (kind === 'https' ? https : http).request(url, {
      method: request.method ?? 'GET',
      headers: { ...sentOn(request.headers), ...remote.headers },
      // A connection that is kept could be that of another address.
      ...(confined ? { agent: false as const, ...(lookup === undefined ? {} : { lookup }) } : { agent: agents[kind] }),
    })
    const meter = new Meter(onward)
    let problem: string | undefined
    const fail = (status: number, text: string): void => {
      problem ??= text
      onward.destroy()
      if (response.headersSent) response.destroy()
      else say(response, status, text)
    }
    const end = (): void => fail(502, 'the process is gone')
    this.#running.add(end)
    onward.on('error', (error) => fail(502, `${textOf(this.#place)} cannot be reached: ${error.message}`))
    onward.once('upgrade', (_answer, socket) => socket.destroy())
    onward.once('response', (answer) => {
      if (response.destroyed || response.headersSent) return void onward.destroy()
      response.writeHead(answer.statusCode ?? 502, passedBack(answer.headers, remote, url))
      response.flushHeaders()
      pipeline(answer, response, () => undefined)
    })
    onward.once('close', () => {
      this.#running.delete(end)
      const passed = meter.receivedBytes > 0
      this.#options.over(this.#place, {
        sentBytes: meter.sentBytes,
        receivedBytes: meter.receivedBytes,
        outcome: passed ? 'passed' : 'failed',
        ...(problem === undefined ? {} : { problem }),
      })
    })
    response.once('close', () => onward.destroy())
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxBodyBytes) fail(413, tooLarge)
    })
    request.pipe(onward)
  }

  #refuse(response: ServerResponse, status: number, problem: string): void {
    say(response, status, problem)
    const outcome = status === 502 ? 'failed' : 'refused'
    this.#options.over(this.#place, { sentBytes: 0, receivedBytes: 0, outcome, problem })
  }
}

/** Counts what one request adds to a connection that others have used before. */
class Meter {
  #socket: Socket | undefined
  #before = { sent: 0, received: 0 }

  constructor(request: ClientRequest) {
    request.once('socket', (socket) => {
      this.#socket = socket
      this.#before = { sent: socket.bytesWritten, received: socket.bytesRead }
      request.setTimeout(socket.connecting ? CONNECT_MS : IDLE_MS, () =>
        request.destroy(new Error('it does not answer')),
      )
      socket.once('connect', () => request.setTimeout(IDLE_MS))
    })
  }

  get sentBytes(): number {
    return (this.#socket?.bytesWritten ?? 0) - this.#before.sent
  }

  get receivedBytes(): number {
    return (this.#socket?.bytesRead ?? 0) - this.#before.received
  }
}

/** The URL that a local path stands for. It never leaves the remote's origin and prefix. */
export function aimOf({ mount, prefix, url: text }: Pick<Remote, 'mount' | 'prefix' | 'url'>, path: string): Aim {
  const rest = path.startsWith(mount) ? path.slice(mount.length) : undefined
  if (rest === undefined || !/^(?:[/?]|$)/.test(rest))
    return { status: 404, problem: `its address begins with ${mount}/` }
  const base = new URL(text)
  const whole = `${base.origin}${prefix}${rest}`
  const outside = { status: 403, problem: 'the path leads out of the remote' }
  if (!URL.canParse(whole) || climbs(rest)) return outside
  const url = new URL(whole)
  const isWithin = prefix === '' || url.pathname === prefix || url.pathname.startsWith(`${prefix}/`)
  if (url.origin !== base.origin || !isWithin) return outside
  url.hash = ''
  // The query of the remote itself may be a part of its credential.
  if (base.search !== '' && url.pathname === base.pathname)
    for (const [name, value] of base.searchParams) url.searchParams.set(name, value)
  return { url }
}

/** Whether a server that decodes a path once or twice could take it for one further up. */
function climbs(rest: string): boolean {
  let path = rest.split(/[?#]/, 1)[0] ?? ''
  for (let times = 0; times < 3; times += 1) {
    if (path.split(/[/\\]/).some((part) => part === '..' || part === '.')) return true
    try {
      path = decodeURIComponent(path)
    } catch {
      return false
    }
  }
  return false
}

/** What a process says, without its own token and what belongs to one connection. */
function sentOn(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const {
    authorization: _token,
    host: _host,
    expect: _expect,
    'proxy-authorization': _proxy,
    ...rest
  } = withoutHops(headers)
  return rest
}

/** A redirect within the remote leads to the local address; one elsewhere is the process's own to follow, without the credential. */
function passedBack(
  headers: IncomingHttpHeaders,
  { mount, prefix, url: text }: Remote,
  asked: URL,
): OutgoingHttpHeaders {
  const passed: OutgoingHttpHeaders = withoutHops(headers)
  const { location } = headers
  if (location === undefined || !URL.canParse(location, asked.href)) return passed
  const target = new URL(location, asked)
  const isWithin =
    target.origin === new URL(text).origin &&
    (prefix === '' || target.pathname === prefix || target.pathname.startsWith(`${prefix}/`))
  passed['location'] = isWithin ? `${mount}${target.pathname.slice(prefix.length)}${target.search}` : target.href
  return passed
}

function say(response: ServerResponse, status: number, text: string): void {
  if (response.headersSent || response.destroyed) return
  response
    .writeHead(status, { 'content-type': 'text/plain', connection: 'close' })
    .end(`${text.replaceAll(/[^\x20-\x7e]/g, '?')}\n`)
}
