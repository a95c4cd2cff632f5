import { Stopwatch } from './stopwatch.ts'
import type { Said } from './stopwatch.ts'

/** What came of a step over HTTP; its cost is in the pool's books. */
type SaidOverHttp = Omit<Said, 'costUsd'>

/** Why a step could not be tried. */
export class NotHere extends Error {}

/** One session with Anthropic's own client, as its documentation begins one. Throws NotHere without the client. */
export async function officialSession(url: string, model: string, prompt: string): Promise<SaidOverHttp> {
  const { default: Anthropic } = await import('@anthropic-ai/sdk').catch(() => {
    throw new NotHere('@anthropic-ai/sdk is not installed')
  })
  const client = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 })
  if ((client.beta as { agents?: unknown }).agents === undefined)
    throw new NotHere('this @anthropic-ai/sdk has no Managed Agents; install 1.12.0 or later')
  const agent = await client.beta.agents.create({ name: 'Live', model, system: 'Be brief.' })
  const watch = new Stopwatch()
  const session = await client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
  const stream = await client.beta.sessions.events.stream(session.id)
  const content = [{ type: 'text' as const, text: prompt }]
  await client.beta.sessions.events.send(session.id, { events: [{ type: 'user.message', content }] })
  const texts: string[] = []
  let failed = false
  for await (const event of stream) {
    if (event.type === 'agent.message') {
      watch.first()
      for (const block of event.content) if (block.type === 'text') texts.push(block.text)
    }
    if (event.type === 'session.error') failed = true
    if (event.type === 'session.status_idle') break
  }
  const times = watch.stop()
  await client.beta.sessions.delete(session.id)
  return { ...times, text: texts.join('\n'), failed }
}

/** One run of AG-UI, read as a front end reads it. */
export async function agUiRun(url: string, agent: string, prompt: string): Promise<SaidOverHttp> {
  const watch = new Stopwatch()
  const response = await fetch(`${url}/ag-ui/${agent}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({
      threadId: 'live-ag-ui',
      runId: crypto.randomUUID(),
      state: {},
      messages: [{ id: crypto.randomUUID(), role: 'user', content: prompt }],
      tools: [],
      context: [],
      forwardedProps: {},
    }),
  })
  if (!response.ok || response.body === null) throw new Error(`POST /ag-ui answered ${response.status}`)
  let [text, rest, failed, finished] = ['', '', false, false]
  for await (const piece of response.body.pipeThrough(new TextDecoderStream() as never) as AsyncIterable<string>) {
    const frames = (rest + piece).split('\n\n')
    rest = frames.pop() ?? ''
    for (const frame of frames) {
      const event = JSON.parse(/^data: (.*)$/m.exec(frame)?.[1] ?? '{}') as { type?: string; delta?: string }
      if (event.type === 'TEXT_MESSAGE_CONTENT') {
        watch.first()
        text += event.delta ?? ''
      }
      failed ||= event.type === 'RUN_ERROR'
      finished ||= event.type === 'RUN_FINISHED'
    }
  }
  return { ...watch.stop(), text, failed: failed || !finished }
}
