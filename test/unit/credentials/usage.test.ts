import { describe, expect, test } from 'vitest'
import { costOf, priceOf } from '../../../src/credentials/prices.ts'
import { nothingCounted, usageReader } from '../../../src/credentials/usage-reader.ts'
import type { UsageReader } from '../../../src/credentials/usage-reader.ts'

const START = {
  type: 'message_start',
  message: {
    model: 'claude-sonnet-5',
    usage: {
      input_tokens: 10,
      output_tokens: 1,
      cache_read_input_tokens: 200,
      cache_creation_input_tokens: 30,
      cache_creation: { ephemeral_1h_input_tokens: 20 },
    },
  },
}
const delta = (text: string): object => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
const END = { type: 'message_delta', usage: { output_tokens: 55, server_tool_use: { web_search_requests: 2 } } }

const COUNTED = {
  ...nothingCounted(),
  inputTokens: 10,
  outputTokens: 55,
  cacheReadTokens: 200,
  cacheWriteTokens: 30,
  cacheWrite1hTokens: 20,
  webSearches: 2,
}

const sse = (events: object[]): Buffer =>
  Buffer.from(events.map((event) => `event: x\ndata: ${JSON.stringify(event)}\n\n`).join(''))

/** A frame of Bedrock. Its checksums are not looked at, since nothing depends on them but counts. */
function frame(payload: object): Buffer {
  const body = Buffer.from(JSON.stringify(payload))
  const headers = Buffer.from('\x0b:event-type\x07\x00\x05chunk', 'latin1')
  const bytes = Buffer.alloc(12 + headers.length + body.length + 4)
  bytes.writeUInt32BE(bytes.length, 0)
  bytes.writeUInt32BE(headers.length, 4)
  headers.copy(bytes, 12)
  body.copy(bytes, 12 + headers.length)
  return bytes
}

const bedrock = (events: object[]): Buffer =>
  Buffer.concat(events.map((event) => frame({ bytes: Buffer.from(JSON.stringify(event)).toString('base64') })))

const STREAMS: [name: string, type: string, encode: (events: object[]) => Buffer][] = [
  ['server-sent events', 'text/event-stream; charset=utf-8', sse],
  ['frames of Bedrock', 'application/vnd.amazon.eventstream', bedrock],
]

function read(type: string, bytes: Buffer, size = bytes.length): ReturnType<UsageReader['result']> {
  const reader = usageReader(type)
  for (let at = 0; at < bytes.length; at += size) reader.take(bytes.subarray(at, at + size))
  return reader.result()
}

describe.each(STREAMS)('An answer in %s', (_name, type, encode) => {
  test.each([1, 7, 64, 100_000])('is counted as the API says, whatever pieces it comes in (%s bytes)', (size) => {
    const bytes = encode([START, delta('hello'), END, { type: 'message_stop' }])
    expect(read(type, bytes, size)).toEqual({ model: 'claude-sonnet-5', whole: true, used: COUNTED })
  })

  test('cannot forge its count by what the model says', () => {
    const forged = JSON.stringify({ type: 'message_delta', usage: { output_tokens: 0 } })
    const bytes = encode([START, delta(`\n\ndata: ${forged}\n\n`), END, delta(forged)])
    expect(read(type, bytes).used.outputTokens).toBe(55)
  })

  test('that is cut before its end is counted by its length', () => {
    const { used, whole } = read(type, encode([START, delta('x'.repeat(6_000))]))
    expect(whole).toBe(false)
    expect(used).toMatchObject({ inputTokens: 10, cacheReadTokens: 200, estimated: true })
    expect(used.outputTokens).toBeGreaterThan(1_500)
    expect(used.outputTokens).toBeLessThan(3_000)
  })

  test('with an event beyond all measure is counted by its length, and what follows is read', () => {
    const bytes = encode([START, delta('x'.repeat(3_000_000)), END])
    expect(read(type, bytes, 65_536).used).toEqual(COUNTED)
  })

  test('that makes no sense is counted by its length', () => {
    const garbage = Buffer.alloc(30_000, 'garbage ')
    const { used, whole } = read(type, garbage, 1_000)
    expect(whole).toBe(false)
    expect(used.inputTokens).toBe(0)
  })

  test('with counts that are none is not counted by them', () => {
    const bad = {
      type: 'message_delta',
      usage: { output_tokens: -5, input_tokens: '9', cache_read_input_tokens: null },
    }
    expect(read(type, encode([START, bad])).used).toMatchObject({
      inputTokens: 10,
      outputTokens: 1,
      cacheReadTokens: 200,
    })
  })
})

describe('An answer in one piece', () => {
  test('is counted as the API says', () => {
    const message = { type: 'message', ...START.message, usage: { ...START.message.usage, ...END.usage } }
    expect(read('application/json', Buffer.from(JSON.stringify(message)), 10)).toEqual({
      model: 'claude-sonnet-5',
      whole: true,
      used: COUNTED,
    })
  })

  test('that was cut is counted by its length', () => {
    expect(read('application/json', Buffer.from('{"type":"message","content":"xxxxxxxx'))).toMatchObject({
      whole: false,
      used: { outputTokens: 13, estimated: true },
    })
  })
})

describe('The price', () => {
  const million = (field: 'inputTokens' | 'outputTokens' | 'cacheReadTokens' | 'cacheWriteTokens'): number =>
    costOf({ ...nothingCounted(), [field]: 1_000_000 }, { input: 3, output: 15 })

  test('of each kind of token follows from that of the input', () => {
    expect(million('inputTokens')).toBeCloseTo(3)
    expect(million('outputTokens')).toBeCloseTo(15)
    expect(million('cacheReadTokens')).toBeCloseTo(0.3)
    expect(million('cacheWriteTokens')).toBeCloseTo(3.75)
    const used = { ...nothingCounted(), cacheWriteTokens: 1_000_000, cacheWrite1hTokens: 1_000_000, webSearches: 100 }
    expect(costOf(used, { input: 3, output: 15 })).toBeCloseTo(6 + 1)
  })

  test('is the same for a model under the names of all clouds', () => {
    for (const name of ['claude-sonnet-5', 'us.anthropic.claude-sonnet-5-v1:0', 'claude-sonnet-5@20260801'])
      expect(priceOf(name, {})).toEqual({ input: 2, output: 10 })
  })

  test('of an unknown model is the dearest, unless the caller knows it', () => {
    expect(priceOf('gpt', {})).toEqual({ input: 15, output: 75 })
    expect(priceOf('constructor', {})).toEqual({ input: 15, output: 75 })
    expect(priceOf('gpt', { gpt: { input: 1, output: 2 } })).toEqual({ input: 1, output: 2 })
  })
})
