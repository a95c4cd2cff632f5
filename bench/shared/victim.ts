import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'

/** A tenant that talks in one session, turn after turn, over a connection of its own. */
export class Victim {
  readonly #url: string
  readonly #key: string
  readonly #session: string
  readonly #agent: Agent
  #turns = 0

  /** `address`: from which address of this machine it comes. */
  constructor({ url, key, session, address }: { url: string; key: string; session: string; address: string }) {
    this.#url = url
    this.#key = key
    this.#session = session
    this.#agent = new Agent({ keepAlive: true, localAddress: address })
  }

  /** Turns that have ended as they should. */
  get turns(): number {
    return this.#turns
  }

  /** One turn, in milliseconds. Throws what is wrong with its answer. */
  async turn(): Promise<number> {
    const since = performance.now()
    const sent = request(`${this.#url}/sessions/${this.#session}/messages`, {
      method: 'POST',
      agent: this.#agent,
      headers: { 'x-api-key': this.#key },
    })
    sent.end('{"prompt":"hello"}')
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    let text = ''
    for await (const chunk of response) text += String(chunk)
    const expected = `[turn ${this.#turns + 1}] You said: hello`
    if (!text.includes(expected) || !text.includes('event: done'))
      throw new Error(`turn ${this.#turns + 1} of the victim was cut: ${response.statusCode} ${text.slice(-2_000)}`)
    this.#turns += 1
    return performance.now() - since
  }

  /** Turn after turn until `stop`: how long each took. */
  async talk(stop: AbortSignal): Promise<number[]> {
    const took: number[] = []
    while (!stop.aborted) took.push(await this.turn())
    return took
  }

  leave(): void {
    this.#agent.destroy()
  }
}
