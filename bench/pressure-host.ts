/** A host that reads one very large turn. Arguments: directory, model, `pool` or `plain`, `stops` or `reads`, prompt. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SDKMessage } from '@anthropic-ai/claude-agent-sdk'
import { PlainConversation, startPool } from './shared/conversation.ts'

const [dir = '', url = '', side, reader, prompt = ''] = process.argv.slice(2)
const SAMPLE_MS = 20

interface Conversation {
  warmUp(): Promise<unknown>
  next(): Promise<IteratorResult<SDKMessage, unknown>>
  close(): Promise<void>
}

async function pooled(): Promise<Conversation> {
  const pool = await startPool(
    { dir, url },
    { dataDir: join(dir, `pressure-${process.pid}`), agent: { includePartialMessages: true } },
  )
  const session = await pool.session('pressure', { agent: 'assistant' })
  let turn: ReturnType<typeof session.send> | undefined
  return {
    warmUp: () => session.send('hello').result,
    next: () => (turn ??= session.send(prompt)).next(),
    close: () => pool.close(),
  }
}

function plain(): Conversation {
  const cwd = join(dir, `pressure-${process.pid}`)
  mkdirSync(cwd)
  const conversation = new PlainConversation({ dir, url }, cwd, { includePartialMessages: true })
  let sent = false
  return {
    warmUp: () => conversation.turn('hello'),
    next() {
      if (!sent) conversation.send(prompt)
      sent = true
      return conversation.next()
    },
    close: () => conversation.close(),
  }
}

/** Text of this message that the model has just made. */
function newText(message: SDKMessage): number {
  if (message.type !== 'stream_event' || message.event.type !== 'content_block_delta') return 0
  return message.event.delta.type === 'text_delta' ? message.event.delta.text.length : 0
}

const conversation = side === 'pool' ? await pooled() : plain()
await conversation.warmUp()
for (let turn = 0; turn < 4; turn += 1) {
  globalThis.gc?.()
  await sleep(100)
}
const before = process.memoryUsage.rss()
let peak = before
let stoppedPeak: number | undefined
const sampling = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss())
}, SAMPLE_MS)
let characters = 0
let stopped = reader === 'reads'
for (;;) {
  const { value, done } = await conversation.next()
  if (done === true) throw new Error('the stream ended before its result')
  const message = value as SDKMessage
  characters += newText(message)
  if (characters > 0 && !stopped) {
    stopped = true
    const goOn = once(process, 'message')
    process.send?.('stopped')
    await goOn
    stoppedPeak = peak
  }
  if (message.type === 'result') break
}
clearInterval(sampling)
await conversation.close()
process.send?.({ turn: peak - before, stopped: (stoppedPeak ?? peak) - before, characters })
process.disconnect()
