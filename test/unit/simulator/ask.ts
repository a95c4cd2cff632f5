import type { Simulator } from '../../../src/simulator/server.ts'
import type { Message } from '../../../src/simulator/wire.ts'

/** One server-sent event. */
export interface SentEvent {
  type: string
  data: {
    type?: string
    delta?: { text?: string }
    content_block?: { type: string }
  }
}

export interface Ask {
  /** A prompt, or a whole conversation. */
  say: string | readonly Message[]
  stream?: boolean
  headers?: Record<string, string>
  signal?: AbortSignal
}

/** Posts one request to the model. */
export function ask(simulator: Simulator, { say, stream = true, headers = {}, signal }: Ask): Promise<Response> {
  const messages = typeof say === 'string' ? [{ role: 'user', content: say }] : say
  const body = JSON.stringify({ model: 'claude-test', max_tokens: 100, stream, messages })
  return fetch(`${simulator.url}/v1/messages?beta=true`, { method: 'POST', body, headers, signal: signal ?? null })
}

/** Reads a stream to its end. */
export async function events(response: Response): Promise<SentEvent[]> {
  const frames = (await response.text()).split('\n\n').filter((frame) => frame.startsWith('event: '))
  return frames.map((frame) => {
    const [, type = '', data = ''] = /^event: (.*)\ndata: (.*)$/.exec(frame) ?? []
    return { type, data: JSON.parse(data) }
  })
}

/** The text of a streamed answer to one prompt. */
export async function textOf(simulator: Simulator, say: Ask['say']): Promise<string> {
  const all = await events(await ask(simulator, { say }))
  return all.map(({ data }) => data.delta?.text ?? '').join('')
}
