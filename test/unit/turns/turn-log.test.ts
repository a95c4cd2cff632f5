import { describe, expect, test } from 'vitest'
import type { SendOptions, Turn, TurnFollower, TurnMessage } from '../../../src/index.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

interface Running extends Fakes {
  turn: Turn
  process: FakeProcess
}

const KiB = 1024

/** A turn whose process says what the test makes it say. */
async function running(options: SendOptions = { onLeave: 'detach' }): Promise<Running> {
  const all = await fakes()
  all.driver.onStart = (process) => (process.answersAtOnce = false)
  const turn = (await all.session('s')).send('go', options)
  const process = await all.driver.process(0)
  await all.driver.until(() => process.unanswered === 1)
  return { ...all, turn, process }
}

/** Says so many texts of 100 KiB. */
async function say({ process, clock }: Running, texts: number): Promise<void> {
  for (let count = 0; count < texts; count += 1) process.sayText('x'.repeat(100 * KiB))
  await clock.settle()
}

async function readAll(follower: TurnFollower): Promise<TurnMessage[]> {
  const messages: TurnMessage[] = []
  for await (const message of follower) messages.push(message)
  return messages
}

const numbersOf = async (follower: TurnFollower): Promise<number[]> =>
  (await readAll(follower)).map(({ number }) => number)

describe('followers of a turn', () => {
  test('all get its messages, numbered from 1, and its end', async () => {
    const { turn, process } = await running()
    const followers = [turn.follow(), turn.follow()].map(readAll)
    process.sayText('one')
    process.finish()
    const [first, second] = await Promise.all(followers)
    expect(first?.map(({ number, message }) => [number, message.type])).toEqual([
      [1, 'assistant'],
      [2, 'result'],
    ])
    expect(second).toEqual(first)
    expect(first?.map(({ json }) => json)).toEqual(first?.map(({ message }) => JSON.stringify(message)))
  })

  test('may come late, also after the end: they begin with what is kept, or after the number that they name', async () => {
    const { turn, process } = await running()
    turn.follow()
    process.sayText('one')
    process.sayText('two')
    process.finish()
    await turn.result
    expect(await numbersOf(turn.follow())).toEqual([1, 2, 3])
    expect(await numbersOf(turn.follow({ after: 2 }))).toEqual([3])
    expect(await numbersOf(turn.follow({ after: 3 }))).toEqual([])
  })

  test('begin with what comes next if the turn was not followed before, and know how much they missed', async () => {
    const all = await running()
    await say(all, 2)
    const follower = all.turn.follow()
    all.process.finish()
    expect(await numbersOf(follower)).toEqual([3])
    expect(follower.missed).toBe(2)
  })

  test('share what is kept: the newest mebibyte', async () => {
    const all = await running()
    all.turn.follow()
    await say(all, 40)
    all.process.finish()
    await all.turn.result
    const follower = all.turn.follow()
    const kept = await readAll(follower)
    const size = kept.reduce((sum, { json }) => sum + json.length, 0)
    expect(size).toBeLessThanOrEqual(1024 * KiB)
    expect(size).toBeGreaterThan(900 * KiB)
    expect(kept.at(-1)?.number).toBe(41)
    expect(follower.missed).toBe(41 - kept.length)
  })

  test('throw once what ended the turn instead of a result', async () => {
    const { turn, process } = await running()
    const follower = turn.follow()
    process.exit({ cause: 'crash', exitCode: 1 })
    expect(await outcome(turn)).toBe('worker_exited')
    await expect(follower.next()).rejects.toMatchObject({ code: 'worker_exited' })
    expect(await follower.next()).toEqual({ done: true, value: undefined })
    await expect(turn.follow().next()).rejects.toMatchObject({ code: 'worker_exited' })
  })

  test('may ask for several messages at once', async () => {
    const { turn, process } = await running()
    const follower = turn.follow()
    const asked = [follower.next(), follower.next(), follower.next()]
    process.sayText('one')
    process.finish()
    const steps = await Promise.all(asked)
    expect(steps.map(({ done, value }) => (done === true ? 'end' : value.number))).toEqual([1, 2, 'end'])
  })

  test('are beside the reader of the turn itself, which misses nothing', async () => {
    const { turn, process } = await running()
    const follower = readAll(turn.follow())
    const read = (async () => {
      const types: string[] = []
      for await (const { type } of turn) types.push(type)
      return types
    })()
    process.sayText('one')
    process.finish()
    expect(await read).toEqual((await follower).map(({ message }) => message.type))
  })

  test('refuse options that do not exist', async () => {
    const { turn } = await running()
    expect(() => turn.follow({ after: -1 })).toThrow('after: must be the number of a message, or 0')
    expect(() => turn.follow({ onSlow: 'pause' as 'wait' })).toThrow('onSlow')
    expect(() => turn.follow({ from: 1 } as object)).toThrow('from')
  })
})

describe('a slow follower', () => {
  test('holds neither the turn nor the others, and misses the oldest messages', async () => {
    const all = await running()
    const { turn, process } = all
    const slow = turn.follow()
    const fast = numbersOf(turn.follow())
    const before = process.consumptions
    await say(all, 40)
    expect(process.consumptions).toBe(before + 40)
    process.finish()
    expect((await fast).length).toBe(41)
    const { value } = await slow.next()
    expect(value?.number).toBeGreaterThan(30)
    expect(slow.missed).toBe((value?.number ?? 0) - 1)
  })

  test('makes the turn wait if it asked for that, and misses nothing', async () => {
    const all = await running()
    const { turn, process } = all
    const slow = turn.follow({ onSlow: 'wait' })
    const before = process.consumptions
    await say(all, 20)
    // More than 256 KiB are unread from the third text on, until the eighteenth was read.
    expect(process.consumptions).toBe(before + 2)
    for (let count = 0; count < 17; count += 1) await slow.next()
    expect(process.consumptions).toBe(before + 2)
    expect((await slow.next()).value?.number).toBe(18)
    expect(process.consumptions).toBe(before + 3)
    expect(slow.missed).toBe(0)
    process.finish()
    expect(await numbersOf(slow)).toEqual([19, 20, 21])
  })

  test('that has left holds nothing back', async () => {
    const all = await running()
    const slow = all.turn.follow({ onSlow: 'wait' })
    const before = all.process.consumptions
    await say(all, 5)
    expect(all.process.consumptions).toBe(before + 2)
    await slow.return()
    expect(all.process.consumptions).toBe(before + 3)
    expect(await slow.next()).toEqual({ done: true, value: undefined })
  })

  test('cannot keep a turn from its end once that was aborted', async () => {
    const stop = new AbortController()
    const all = await running({ signal: stop.signal })
    all.turn.follow({ onSlow: 'wait' })
    const before = all.process.consumptions
    await say(all, 5)
    expect(all.process.consumptions).toBe(before + 2)
    stop.abort()
    expect(all.process.consumptions).toBe(before + 3)
    expect(await outcome(all.turn)).toBe('turn_interrupted')
  })
})

describe('a follower that leaves', () => {
  test('leaves the turn to its other readers', async () => {
    const { turn, process } = await running({})
    const follower = turn.follow()
    process.sayText('one')
    for await (const { number } of follower) if (number === 1) break
    expect(process.interrupts).toBe(0)
    process.finish()
    expect(await outcome(turn)).toBe('success')
  })

  test('as the last reader interrupts the turn, as does the reader of the turn itself', async () => {
    const all = await running({})
    const { turn, process, driver } = all
    const follower = turn.follow()
    process.sayText('one')
    await turn.next()
    const left = turn.return?.()
    await all.clock.settle()
    expect(process.interrupts).toBe(0)
    const followerLeft = follower.return()
    await driver.until(() => process.interrupts === 1)
    await Promise.all([left, followerLeft])
    expect(await outcome(turn)).toBe('error_during_execution')
  })

  test('lets the turn run on if that was sent with onLeave detach', async () => {
    const { turn, process, clock } = await running()
    const follower = turn.follow()
    await Promise.all([turn.return?.(), follower.return()])
    await clock.settle()
    expect(process.interrupts).toBe(0)
    process.finish()
    expect(await outcome(turn)).toBe('success')
  })
})

describe('a prompt that was added to a turn', () => {
  test('is followed by the messages that come after it', async () => {
    const all = await running()
    await say(all, 1)
    const steered = (await all.session('s')).send('more', { onBusy: 'steer', onLeave: 'detach' })
    const follower = steered.follow()
    await steered.promptStored
    await say(all, 1)
    const { value } = await follower.next()
    expect(value).toMatchObject({ number: 1, message: { type: 'assistant' } })
  })

  test('that came too late ends its followers with its error, and not those of the turn', async () => {
    const { turn, process, session } = await running()
    const others = numbersOf(turn.follow())
    const steered = (await session('s')).send('more', { onBusy: 'steer', context: 'none' as never })
    await expect(steered.follow().next()).rejects.toThrow('context')
    const unfollowed = (await session('s')).send('more', { onBusy: 'steer', context: 'none' as never })
    await expect(unfollowed.result).rejects.toThrow('context')
    await expect(unfollowed.follow().next()).rejects.toThrow('context')
    process.finish()
    expect(await others).toEqual([1])
  })
})
