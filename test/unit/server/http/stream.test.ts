import { expect, test } from 'vitest'
import { PING, frame, pullStream } from '../../../../src/server/http/stream.ts'
import { FakeClock } from '../../../../src/testing/index.ts'

type Chunk = Uint8Array<ArrayBuffer>

/** A source under remote control, which counts what was taken from it. */
class Source implements AsyncIterator<Chunk, undefined> {
  readonly waiting: PromiseWithResolvers<IteratorResult<Chunk, undefined>>[] = []

  next(): Promise<IteratorResult<Chunk, undefined>> {
    const next = Promise.withResolvers<IteratorResult<Chunk, undefined>>()
    this.waiting.push(next)
    return next.promise
  }

  give(text: string): void {
    this.waiting.at(-1)?.resolve({ done: false, value: frame(text, '{}') })
  }
}

const setUp = (): { clock: FakeClock; source: Source; ends: string[]; stream: ReadableStream<Chunk> } => {
  const clock = new FakeClock()
  const source = new Source()
  const ends: string[] = []
  return { clock, source, ends, stream: pullStream(source, { clock, ping: PING, onEnd: (how) => ends.push(how) }) }
}

const text = (chunk: Chunk | undefined): string => new TextDecoder().decode(chunk)

test('nothing is taken from the source before somebody reads', async () => {
  const { clock, source, stream } = setUp()
  await clock.settle()
  expect(source.waiting).toHaveLength(0)
  const reader = stream.getReader()
  const first = reader.read()
  await clock.settle()
  source.give('one')
  expect(text((await first).value)).toContain('event: one')
  await clock.settle()
  expect(source.waiting).toHaveLength(1)
})

test('a quiet stream pings every 15 s, and the source is not asked twice', async () => {
  const { clock, source, stream } = setUp()
  const reader = stream.getReader()
  for (let pings = 0; pings < 2; pings += 1) {
    const read = reader.read()
    await clock.advance(15_000)
    expect(text((await read).value)).toContain('event: ping')
  }
  const read = reader.read()
  await clock.settle()
  source.give('late')
  expect(text((await read).value)).toContain('event: late')
  expect(source.waiting).toHaveLength(1)
})

test('a reader that takes nothing for 30 s is cut, and its owner told', async () => {
  const { clock, source, ends, stream } = setUp()
  const reader = stream.getReader()
  const read = reader.read()
  await clock.settle()
  source.give('one')
  await read
  await clock.advance(29_999)
  expect(ends).toEqual([])
  await clock.advance(1)
  expect(ends).toEqual(['cut'])
  await expect(reader.read()).rejects.toThrow('took nothing for 30 s')
  expect(clock.pending).toBe(0)
})

test('a reader that leaves is noticed at once, also while it waits', async () => {
  const { clock, ends, stream } = setUp()
  const reader = stream.getReader()
  void reader.read()
  await clock.settle()
  await reader.cancel()
  expect([ends, clock.pending]).toEqual([['left'], 0])
})

test('the end of the source is the end of the stream', async () => {
  const { clock, source, ends, stream } = setUp()
  const reader = stream.getReader()
  const read = reader.read()
  await clock.settle()
  source.waiting[0]?.resolve({ done: true, value: undefined })
  expect((await read).done).toBe(true)
  expect([ends, clock.pending]).toEqual([['ended'], 0])
})
