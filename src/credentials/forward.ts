import http from 'node:http'
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import https from 'node:https'
import { pipeline } from 'node:stream'
import type { Clock } from '../clock.ts'
import { passedBack, sentOn } from './headers.ts'
import type { Counted } from './prices.ts'
import { refuse } from './reply.ts'
import type { Route } from './routes.ts'
import type { AccessTokens } from './signing/service-account.ts'
import { signV4 } from './signing/sigv4.ts'
import { targetOf } from './upstream.ts'
import type { Auth, Upstream } from './upstream.ts'
import { nothingCounted, usageReader } from './usage-reader.ts'
import type { UsageReader } from './usage-reader.ts'

/** The API's own limit for a request: 32 MB. */
const MAX_BODY_BYTES = 32 * 1024 * 1024

/** Bodies that are held as a whole to be signed, all together. */
const MAX_HELD_BYTES = 128 * 1024 * 1024

/** Neither the request nor the answer has moved for so long: one of the two sides is gone. */
const SILENCE_MS = 15 * 60_000

/** About how many bytes of a request are a token of input. */
const BYTES_PER_TOKEN = 4

const TOO_LARGE = 'the request is larger than the 32 MB that the API takes'

/** What a call used, once it is over. */
export type Charge = (model: string | undefined, used: Counted) => void

export interface Call {
  request: IncomingMessage
  response: ServerResponse
  route: Route
  upstream: Upstream
  charge: Charge
}

/** Passes calls on with the real credential, and their answers back, byte by byte as they come. */
export class Forwarder {
  readonly #clock: Clock
  readonly #tokens: AccessTokens
  readonly #agents: { http: http.Agent; https: https.Agent }
  #heldBytes = 0

  /** `proxies` says which proxy the API is reached through (`HTTPS_PROXY`, `NO_PROXY`). */
  constructor(clock: Clock, tokens: AccessTokens, proxies: Readonly<Record<string, string>>) {
    this.#clock = clock
    this.#tokens = tokens
    const options = { keepAlive: true, scheduling: 'lifo', proxyEnv: proxies } as const
    this.#agents = { http: new http.Agent(options), https: new https.Agent(options) }
  }

  /** Resolves when the call is over, however it ended. Never rejects. */
  async forward(call: Call): Promise<void> {
    const { request, response, upstream } = call
    if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return refuse(response, 413, TOO_LARGE)
    try {
      if (upstream.auth.kind === 'sigv4') await this.#forwardSigned(call, upstream.auth)
      else await this.#pass(call, await this.#credential(upstream.auth))
    } catch (error) {
      refuse(response, 502, `the call could not be passed on: ${(error as Error).message}`)
    }
  }

  async #credential(auth: Exclude<Auth, { kind: 'sigv4' }>): Promise<OutgoingHttpHeaders> {
    if (auth.kind === 'service-account') return { authorization: `Bearer ${await this.#tokens.get(auth)}` }
    const { apiKey, bearer } = auth
    return {
      ...(apiKey === undefined ? {} : { 'x-api-key': apiKey }),
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
    }
  }

  /** The signature covers the body, so it must be there as a whole. */
  async #forwardSigned(call: Call, auth: Extract<Auth, { kind: 'sigv4' }>): Promise<void> {
    const { request, response, route, upstream } = call
    const chunks: Buffer[] = []
    let size = 0
    try {
      for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        size += chunk.length
        this.#heldBytes += chunk.length
        if (size > MAX_BODY_BYTES) return refuse(response, 413, TOO_LARGE)
        if (this.#heldBytes > MAX_HELD_BYTES)
          return refuse(response, 503, 'the proxy holds as many requests as it can; try again')
        chunks.push(chunk)
      }
      const body = Buffer.concat(chunks)
      const headers: Record<string, string> = {}
      for (const name of ['content-type', 'accept'] as const)
        headers[name] = request.headers[name] ?? 'application/json'
      const signed = signV4(
        { method: request.method ?? '', url: targetOf(upstream, route.path), headers, body },
        { ...auth, service: 'bedrock' },
        this.#clock.wall(),
      )
      await this.#pass(call, { ...headers, ...signed, 'content-length': String(body.length) }, body)
    } finally {
      this.#heldBytes -= size
    }
  }

  #pass(call: Call, credential: OutgoingHttpHeaders, body?: Buffer): Promise<void> {
    const { request, response, route, upstream } = call
    const target = targetOf(upstream, route.path)
    const secure = target.protocol === 'https:'
    const outgoing = (secure ? https : http).request(target, {
      method: request.method ?? 'POST',
      headers: { ...sentOn(request.headers), ...credential },
      agent: secure ? this.#agents.https : this.#agents.http,
    })
    const passage = new Passage(call, outgoing)
    // A caller that left while the credential was made is not heard of again.
    if (response.destroyed) outgoing.destroy()
    else if (body === undefined) passage.pipe(request)
    else passage.send(body)
    return passage.over
  }
}

/** One call on its way: the request, then the answer. */
class Passage {
  readonly over: Promise<void>
  readonly #call: Call
  readonly #outgoing: ClientRequest
  readonly #end: () => void
  #sentBytes = 0
  #reader: UsageReader | undefined
  #answered = false
  #failed = false
  /** The caller has. */
  #left = false

  constructor(call: Call, outgoing: ClientRequest) {
    this.#call = call
    this.#outgoing = outgoing
    const { promise, resolve } = Promise.withResolvers<void>()
    this.over = promise
    this.#end = resolve
    outgoing.setTimeout(SILENCE_MS, () => outgoing.destroy(new Error('the API has been silent for too long')))
    outgoing.on('error', (error) => this.#fail(error))
    outgoing.on('response', (answer) => this.#answer(answer))
    outgoing.on('close', () => this.#close())
    call.response.on('close', () => {
      if (call.response.writableFinished) return
      this.#left = true
      outgoing.destroy()
    })
  }

  pipe(request: IncomingMessage): void {
    request.on('data', (chunk: Buffer) => {
      this.#sentBytes += chunk.length
      if (this.#sentBytes > MAX_BODY_BYTES) this.#tooLarge()
    })
    request.pipe(this.#outgoing)
  }

  send(body: Buffer): void {
    this.#sentBytes = body.length
    this.#outgoing.end(body)
  }

  #tooLarge(): void {
    if (this.#failed) return
    this.#failed = true
    refuse(this.#call.response, 413, TOO_LARGE)
    this.#outgoing.destroy()
  }

  #fail(error: Error): void {
    if (this.#failed) return
    this.#failed = true
    refuse(this.#call.response, 502, `the API cannot be reached: ${error.message}`)
  }

  #answer(answer: IncomingMessage): void {
    const { response, route } = this.#call
    const status = answer.statusCode ?? 502
    this.#answered = true
    if (route.counts && status < 300) {
      const reader = usageReader(answer.headers['content-type'] ?? '')
      this.#reader = reader
      answer.on('data', (chunk: Buffer) => reader.take(chunk))
    }
    if (response.destroyed) {
      this.#outgoing.destroy()
      return
    }
    response.writeHead(status, passedBack(answer.headers))
    // The agent learns that its call runs before there is anything to say; what comes with the headers goes with them.
    setImmediate(() => response.flushHeaders())
    pipeline(answer, response, () => undefined)
  }

  #close(): void {
    const { route, charge } = this.#call
    if (route.counts) {
      const { model, used, whole } = this.#reader?.result() ?? {
        model: undefined,
        used: nothingCounted(),
        whole: false,
      }
      // An answer that was no success costs nothing. A call that was cut before its answer has cost its input.
      if (whole) charge(model, used)
      else if (this.#reader !== undefined || (!this.#answered && this.#left)) charge(model, this.#estimated(used))
    }
    this.#end()
  }

  #estimated(used: Counted): Counted {
    const inputTokens = used.inputTokens + used.cacheReadTokens + used.cacheWriteTokens
    const estimate = inputTokens > 0 ? used.inputTokens : Math.ceil(this.#sentBytes / BYTES_PER_TOKEN)
    return { ...used, inputTokens: estimate, estimated: true }
  }
}
