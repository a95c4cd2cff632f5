import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { TurnReader } from '../../../src/turns/turn-reader.ts'
import { assistantMessage } from '../../../src/testing/messages.ts'

const message = (text: string): SDKMessage => assistantMessage('s', text)

const readerWith = (): { reader: TurnReader; caughtUp: () => number } => {
  let times = 0
  const reader = new TurnReader(() => {
    times += 1
  })
  return { reader, caughtUp: () => times }
}

test('messages are read in order, those that came before and those that come after', async () => {
  const { reader } = readerWith()
  const [a, b, c] = [message('a'), message('b'), message('c')]
  reader.push(a)
  reader.push(b)
  expect(await reader.next()).toEqual({ done: false, value: a })
  expect(await reader.next()).toEqual({ done: false, value: b })
  const waiting = reader.next()
  reader.push(c)
  expect(await waiting).toEqual({ done: false, value: c })
  reader.end(undefined)
  expect(await reader.next()).toEqual({ done: true, value: undefined })
  expect(await reader.next()).toEqual({ done: true, value: undefined })
})

test('what was unread at the end is still read, and then the failure is thrown, once', async () => {
  const { reader } = readerWith()
  reader.push(message('a'))
  reader.end(new Error('died'))
  expect((await reader.next()).done).toBe(false)
  await expect(reader.next()).rejects.toThrow('died')
  expect(await reader.next()).toEqual({ done: true, value: undefined })
})

test('of several that wait at the end one gets the failure', async () => {
  const { reader } = readerWith()
  const waiting = [reader.next(), reader.next(), reader.next()]
  reader.end(new Error('died'))
  const outcomes = await Promise.allSettled(waiting)
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
})

test('nobody is waited for before somebody reads', () => {
  const { reader } = readerWith()
  reader.push(message('a'))
  expect(reader.caughtUp).toBe(true)
})

test('who has begun to read is waited for until everything is read', async () => {
  const { reader, caughtUp } = readerWith()
  const first = reader.next()
  reader.push(message('a'))
  await first
  expect(reader.caughtUp).toBe(true)
  reader.push(message('b'))
  reader.push(message('c'))
  expect(reader.caughtUp).toBe(false)
  await reader.next()
  expect([reader.caughtUp, caughtUp()]).toEqual([false, 0])
  await reader.next()
  expect([reader.caughtUp, caughtUp()]).toEqual([true, 1])
})

test('who leaves is not waited for, gets nothing more, and is woken', async () => {
  const { reader } = readerWith()
  const waiting = reader.next()
  reader.leave()
  expect(await waiting).toEqual({ done: true, value: undefined })
  reader.push(message('a'))
  expect([reader.caughtUp, reader.left]).toEqual([true, true])
  expect(await reader.next()).toEqual({ done: true, value: undefined })
})

test('what nobody reads is bounded: the oldest goes first, and is counted', async () => {
  const { reader } = readerWith()
  const big = 'x'.repeat(400 * 1024)
  for (const text of ['a', 'b', 'c', 'd']) reader.push(message(text + big))
  expect(reader.dropped).toBe(2)
  const { value } = await reader.next()
  expect(JSON.stringify(value)).toContain('"cxxx')
})

test('a single message beyond the bound is kept: it may be the result', async () => {
  const { reader } = readerWith()
  reader.push(message('x'.repeat(3 * 1024 * 1024)))
  expect(reader.dropped).toBe(0)
  expect((await reader.next()).done).toBe(false)
})

test('who must not hold the turn back any more is not waited for, whether it reads on or not', async () => {
  const { reader } = readerWith()
  const first = reader.next()
  reader.push(message('a'))
  await first
  reader.push(message('b'))
  reader.push(message('c'))
  expect(reader.caughtUp).toBe(false)
  reader.stopHolding()
  expect(reader.caughtUp).toBe(true)
  await reader.next()
  expect(reader.caughtUp).toBe(true)
})

test('who reads loses nothing, however slowly', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom('push', 'read'), { maxLength: 50 }), async (steps) => {
      const { reader } = readerWith()
      const pushed: SDKMessage[] = []
      const read: Promise<IteratorResult<SDKMessage, undefined>>[] = [reader.next()]
      for (const step of steps) {
        if (step === 'read') read.push(reader.next())
        else {
          pushed.push(message(`${pushed.length} ${'x'.repeat(100 * 1024)}`))
          reader.push(pushed.at(-1) as SDKMessage)
        }
      }
      while (read.length < pushed.length) read.push(reader.next())
      reader.end(undefined)
      const values = (await Promise.all(read)).flatMap(({ value }) => (value === undefined ? [] : [value]))
      expect(values).toEqual(pushed)
      expect(reader.dropped).toBe(0)
    }),
    { numRuns: 30 },
  )
})
