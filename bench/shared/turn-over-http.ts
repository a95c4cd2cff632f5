import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'

/** The connections of all turns: the caller ends them. */
export const connections: Agent = new Agent({ keepAlive: true })

/** Sends a prompt, and gives the milliseconds to the first frame and to the first one of the assistant. */
export async function turnOverHttp(url: string, key: string): Promise<{ first: number; assistant: number }> {
  const since = performance.now()
  const sent = request(`${url}/sessions/${key}/messages`, { method: 'POST', agent: connections })
  sent.end('{"prompt":"ping"}')
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  let all = ''
  const times: { first?: number; assistant?: number } = {}
  for await (const chunk of response) {
    all += String(chunk)
    if (all.includes('\n\n')) times.first ??= performance.now() - since
    if (all.includes('"type":"assistant"')) times.assistant ??= performance.now() - since
  }
  const { first, assistant } = times
  if (first === undefined || assistant === undefined || !all.includes('event: done'))
    throw new Error(`the turn failed: ${all}`)
  return { first, assistant }
}
