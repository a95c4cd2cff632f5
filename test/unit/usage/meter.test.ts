import { expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { Meter } from '../../../src/usage/meter.ts'
import { Prices } from '../../../src/usage/prices.ts'
import { NOTHING_USED, addUsage } from '../../../src/usage/usage.ts'
import type { Usage, UsageRecord } from '../../../src/store/store.ts'

const MODEL = 'claude-test'

/** A running total of so many tokens of input, at 0.001 USD each. */
const total = (inputTokens: number, turn = inputTokens): SDKMessage =>
  ({
    type: 'result',
    total_cost_usd: inputTokens / 1_000,
    usage: { input_tokens: turn, output_tokens: 0 },
    modelUsage:
      inputTokens === 0
        ? {}
        : {
            [MODEL]: {
              inputTokens,
              outputTokens: 0,
              cacheReadInputTokens: 0,
              cacheCreationInputTokens: 0,
              costUSD: inputTokens / 1_000,
            },
          },
  }) as unknown as SDKMessage

const answer = (id: string, inputTokens: number, text: string): SDKMessage =>
  ({
    type: 'assistant',
    message: { id, model: MODEL, content: text, usage: { input_tokens: inputTokens, output_tokens: 1 } },
  }) as unknown as SDKMessage

const reset = { type: 'conversation_reset' } as SDKMessage

const empty = (): UsageRecord => ({ total: NOTHING_USED, reported: NOTHING_USED, saved: NOTHING_USED })

/** Processes of one session, one after the other. */
function session(record = empty()) {
  const prices = new Prices()
  const credits: Usage[] = []
  return {
    record,
    credits,
    inputs: (): number[] => credits.map(({ inputTokens }) => inputTokens),
    process: (how: 'new' | 'resumed'): Meter =>
      new Meter(record, how === 'resumed', prices, (usage) => {
        credits.push(usage)
        record.total = addUsage(record.total, usage)
      }),
  }
}

/** One turn of a process. */
function turn(meter: Meter, ...messages: SDKMessage[]): void {
  meter.begin()
  for (const message of messages) meter.hear(message)
}

test('A turn used what it added to the running total', () => {
  const { process, inputs, record } = session()
  const meter = process('new')
  turn(meter, total(100))
  turn(meter, total(250, 150))
  expect(inputs()).toEqual([100, 150])
  expect(record.total).toEqual({ ...NOTHING_USED, inputTokens: 250, costUsd: 0.25 })
})

test('What its answers said is not counted beside the result', () => {
  const { process, inputs, record } = session()
  turn(process('new'), answer('m1', 90, 'x'), answer('m2', 10, 'y'), total(100))
  expect(inputs()).toEqual([100])
  expect(record.total.estimated).toBe(false)
})

test('A process that resumes goes on from the total that the one before it has saved', () => {
  const { process, inputs } = session()
  const first = process('new')
  turn(first, total(100))
  first.end({ inOrder: true })
  turn(process('resumed'), total(170, 70))
  expect(inputs()).toEqual([100, 70])
})

test('What a process used after its last result is in what the next one tells', () => {
  const { process, inputs } = session()
  const first = process('new')
  turn(first, total(100))
  first.end({ inOrder: true })
  turn(process('resumed'), total(185, 70))
  expect(inputs()).toEqual([100, 85])
})

test('After a clear the total begins at nothing, in this process and in the next', () => {
  const { process, inputs } = session()
  const first = process('new')
  turn(first, total(100))
  turn(first, reset, total(0))
  turn(first, total(30))
  first.end({ inOrder: true })
  turn(process('resumed'), total(50, 20))
  expect(inputs()).toEqual([100, 0, 30, 20])
})

test('A process that is killed counts for what was seen of its turn, marked as estimated', () => {
  const { process, inputs, record, credits } = session()
  const first = process('new')
  turn(first, total(100))
  turn(first, answer('m1', 40, 'thinking'), answer('m1', 40, 'a text, of which a part was shown'))
  expect(first.untold).toMatchObject({ inputTokens: 40, estimated: true })
  first.end({ inOrder: false })
  expect(inputs()).toEqual([100, 40])
  expect(record.total.estimated).toBe(true)
  expect(record.estimated).toEqual(credits.at(-1))
  // Four characters a token, at five times the price of input.
  const outputTokens = Math.ceil(('"thinking"'.length + '"a text, of which a part was shown"'.length) / 4)
  expect(record.total.outputTokens).toBe(outputTokens)
  expect(record.total.costUsd).toBeCloseTo((100 + 40 + 5 * outputTokens) / 1_000, 10)
})

test('After a kill the next process goes on from what an earlier one had saved', () => {
  const { process, inputs } = session()
  const first = process('new')
  turn(first, total(100))
  first.end({ inOrder: true })
  const killed = process('resumed')
  turn(killed, total(180, 80))
  killed.end({ inOrder: false })
  const next = process('resumed')
  turn(next, total(150, 50))
  next.end({ inOrder: true })
  turn(process('resumed'), total(210, 60))
  expect(inputs()).toEqual([100, 80, 50, 60])
})

test('After a kill the next process may go on from the last total all the same', () => {
  const { process, inputs } = session()
  const first = process('new')
  turn(first, total(100))
  first.end({ inOrder: false })
  turn(process('resumed'), total(150, 50))
  expect(inputs()).toEqual([100, 50])
})

test('After a kill and nothing saved, the next process begins at nothing', () => {
  const { process, inputs } = session()
  const first = process('new')
  turn(first, total(100))
  first.end({ inOrder: false })
  turn(process('resumed'), total(120, 120))
  expect(inputs()).toEqual([100, 120])
})

test('A host that died without noting its end is counted on from what its processes saved', () => {
  const before = session()
  turn(before.process('new'), total(100))
  const after = session(structuredClone(before.record))
  turn(after.process('resumed'), total(130, 30))
  expect(after.inputs()).toEqual([30])
})

test('A conversation that begins anew counts from nothing', () => {
  const { process, inputs } = session()
  const first = process('new')
  turn(first, total(100))
  first.end({ inOrder: true })
  turn(process('new'), total(120))
  expect(inputs()).toEqual([100, 120])
})

test('A result without numbers changes nothing', () => {
  const { process, inputs } = session()
  const meter = process('new')
  turn(meter, total(100))
  turn(meter, total(0))
  turn(meter, total(160, 60))
  expect(inputs()).toEqual([100, 60])
})

test('Words of the CLI itself count for nothing, and thousands of answers are summed up', () => {
  const { process, inputs } = session()
  const meter = process('new')
  meter.begin()
  for (let index = 0; index < 1_000; index += 1) meter.hear(answer(`m${index}`, 2, 'x'))
  const synthetic = answer('s', 5, 'x') as { message: { model: string } }
  synthetic.message.model = '<synthetic>'
  meter.hear(synthetic as SDKMessage)
  meter.end({ inOrder: false })
  expect(inputs()).toEqual([2_000])
})

test('An idle process that leaves adds nothing', () => {
  const { process, credits } = session()
  const meter = process('new')
  turn(meter, total(100))
  meter.end({ inOrder: false })
  expect(credits).toHaveLength(1)
})

test('searches of the web are counted from one running total to the next, and none leave no mark', () => {
  const searching = (inputTokens: number, webSearchRequests: number): SDKMessage => {
    const message = structuredClone(total(inputTokens)) as unknown as { modelUsage: Record<string, object> }
    Object.assign(message.modelUsage[MODEL] ?? {}, { webSearchRequests })
    return message as unknown as SDKMessage
  }
  const { process, credits, record } = session()
  const meter = process('new')
  turn(meter, searching(10, 2))
  turn(meter, searching(20, 2))
  turn(meter, searching(30, 5))
  expect(credits.map(({ webSearches }) => webSearches)).toEqual([2, undefined, 3])
  expect(record.total.webSearches).toBe(5)
})
