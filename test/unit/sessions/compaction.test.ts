import { describe, expect, test, vi } from 'vitest'
import type { AgentOptions, PoolEvents, Session } from '../../../src/index.ts'
import type { FakeConversation, FakeProcess, TestPoolOptions } from '../../../src/testing/index.ts'
import { NO_SPARES, answer, fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const LIMIT = 1024
const GROWN = 3 * LIMIT

interface Grown extends Fakes {
  handle: Session
  process: FakeProcess
  conversation: FakeConversation
  compactions: PoolEvents['session.compacted'][0][]
}

/** A session after its first turn. */
async function begun(options: AgentOptions = {}, rest: TestPoolOptions = {}): Promise<Grown> {
  const all = await fakes({
    agents: { assistant: { ...NO_SPARES, onLargeTranscript: 'compact', ...options } },
    ...rest,
    limits: { resumeSizeBytes: LIMIT, ...rest.limits },
  })
  const compactions: PoolEvents['session.compacted'][0][] = []
  all.pool.on('session.compacted', (event) => void compactions.push(event))
  const handle = await all.session('k')
  await answer(handle.send('one'))
  const { sdkSessionId = '' } = await handle.info()
  const conversation = all.driver.conversations.get(sdkSessionId) as FakeConversation
  const process = await all.driver.process(0)
  return { ...all, handle, conversation, process, compactions }
}

/** A session that has too much to resume by the end of its second turn. */
async function growing(options: AgentOptions = {}, rest: TestPoolOptions = {}): Promise<Grown> {
  const all = await begun(options, rest)
  const grow = (): void => {
    all.conversation.bytes = GROWN
    all.pool.off('turn.started', grow)
  }
  all.pool.on('turn.started', grow)
  return all
}

/** A session without a process that has too much to resume. */
async function grown(options: AgentOptions = {}, rest: TestPoolOptions = {}): Promise<Grown> {
  const all = await begun(options, rest)
  await all.handle.hibernate()
  all.conversation.bytes = GROWN
  return all
}

const messagesOf = ({ told }: Fakes): string[] =>
  told('warning').map(({ message, error }) => `${message}: ${(error as Error).message}`)

async function typesOf(handle: Session): Promise<string[]> {
  const types: string[] = []
  for await (const { event } of handle.events({ follow: false })) types.push(event.type)
  return types
}

/** A turn outgrows the limit, and its process is asked to compact, which it leaves to the test. */
async function outgrow({ handle, process, driver }: Pick<Grown, 'handle' | 'process' | 'driver'>): Promise<void> {
  process.answersAtOnce = false
  const two = handle.send('two')
  await driver.until(() => process.prompts.length === 2)
  process.finish()
  await two.result
  await driver.until(() => process.commands.length === 1)
}

describe('After a turn, a conversation that has grown too large', () => {
  test('is compacted by the process that has it, which is no turn of the session', async () => {
    const { handle, process, compactions, pool, told } = await growing()
    expect(await answer(handle.send('two'))).toBe('[turn 2] You said: two')
    await handle.hibernate()
    expect(process.commands).toEqual(['/compact'])
    expect(compactions).toMatchObject([
      { session: { key: 'k' }, beforeBytes: GROWN, afterBytes: 1, durationMs: 0, usage: { estimated: false } },
    ])
    expect(pool.stats()).toMatchObject({ totals: { compactions: 1 }, turns: { running: 0 } })
    expect(await handle.info()).toMatchObject({ turns: 2 })
    expect(told('turn.ended')).toHaveLength(2)
    expect((await typesOf(handle)).slice(-2)).toEqual(['session.status_idle', 'agent.thread_context_compacted'])
    expect(await answer(handle.send('three'))).toBe('[turn 3] You said: three')
  })

  test('stays as it is by default, and goes on as long as its process lives', async () => {
    const { handle, process } = await growing({ onLargeTranscript: 'refuse' })
    await answer(handle.send('two'))
    expect(await answer(handle.send('three'))).toBe('[turn 3] You said: three')
    await handle.hibernate()
    expect(process.commands).toEqual([])
    expect(await outcome(handle.send('four'))).toBe('resume_failed')
  })

  test('lets a prompt wait until it is compacted', async () => {
    const { handle, process, driver } = await growing()
    await outgrow({ handle, process, driver })
    const three = handle.send('three')
    process.answersAtOnce = true
    process.compact()
    expect(await answer(three)).toBe('[turn 3] You said: three')
  })

  test('waits while a prompt does', async () => {
    const { handle, process, driver } = await growing()
    process.answersAtOnce = false
    const two = handle.send('two')
    const three = handle.send('three', { onBusy: 'queue' })
    await driver.until(() => process.prompts.length === 2)
    process.finish()
    await two.result
    await driver.until(() => process.prompts.length === 3)
    expect(process.commands).toEqual([])
    process.finish()
    await three.result
    await driver.until(() => process.commands.length === 1)
    process.compact()
  })

  test('waits while there is no place for a turn', async () => {
    const { handle, process, session, driver, pool } = await growing(
      {},
      { limits: { resumeSizeBytes: LIMIT, turns: 1 } },
    )
    process.answersAtOnce = false
    const two = handle.send('two')
    await driver.until(() => process.prompts.length === 2)
    driver.onStart = (other) => void (other.answersAtOnce = false)
    const other = await session('other')
    pool.on('turn.ended', () => void other.send('hello'))
    process.finish()
    await two.result
    await driver.until(() => driver.processes[1]?.unanswered === 1)
    await handle.hibernate()
    expect(process.commands).toEqual([])
    expect(pool.stats().totals.refusedByReason).toEqual({})
  })

  test('is tried once by a process that cannot compact it, and is told of', async () => {
    const all = await growing()
    const { handle, process, driver, conversation } = all
    process.answersAtOnce = false
    for (const [prompts, text] of [
      [2, 'two'],
      [3, 'three'],
    ] as const) {
      const turn = handle.send(text)
      await driver.until(() => process.prompts.length === prompts)
      process.finish()
      await turn.result
      if (prompts === 2) {
        await driver.until(() => process.commands.length === 1)
        process.failToCompact('the model is away')
      }
    }
    await handle.hibernate()
    expect(process.commands).toEqual(['/compact'])
    expect(messagesOf(all)).toEqual([
      'session "k" has outgrown limits.resumeSize and was not compacted: the model is away',
    ])
    expect(conversation.bytes).toBe(GROWN)
  })

  test('is not looked for before its transcript can have reached the limit again', async () => {
    const { handle, driver } = await growing()
    const load = { bytes: 100, fileBytes: 5_000, compaction: 'last', summedUp: false }
    const looks = vi.spyOn(driver, 'resumeLoad').mockResolvedValue(load)
    await answer(handle.send('two'))
    await answer(handle.send('three'))
    await handle.hibernate()
    // The end of the first turn may be the first look or none.
    const [first, ...others] = looks.mock.calls.map(([, above]) => above)
    expect([first, ...new Set(others)]).toEqual([LIMIT, 5_000 + LIMIT - 100])
  })

  test.each(['delete', 'close'] as const)('ends with its session or pool: %s', async (how) => {
    const { handle, process, driver, pool, compactions, told } = await growing()
    await outgrow({ handle, process, driver })
    await (how === 'delete' ? handle.delete() : pool.close())
    expect(driver.living).toEqual([])
    expect([compactions, told('warning')]).toEqual([[], []])
  })
})

describe('Before a turn that resumes it, a conversation that has grown too large', () => {
  test('is compacted, and the turn goes on', async () => {
    const { handle, compactions, driver, told } = await grown()
    expect(await answer(handle.send('two'))).toBe('[turn 2] You said: two')
    expect(driver.processes[1]?.commands).toEqual(['/compact'])
    expect(compactions).toHaveLength(1)
    expect(told('turn.ended')[1]).toMatchObject({ warmth: 'resumed' })
    expect((await typesOf(handle)).slice(6, 9)).toEqual([
      'user.message',
      'agent.thread_context_compacted',
      'session.status_running',
    ])
  })

  test('is not resumed where it cannot be compacted, and is tried again with the next turn', async () => {
    const { handle, driver, pool } = await grown()
    driver.onStart = (process) => void (process.answersAtOnce = false)
    const refused = handle.send('two')
    const process = await driver.process(1)
    await driver.until(() => process.commands.length === 1)
    process.failToCompact('the model is away')
    await expect(refused.result).rejects.toThrow(
      /^the transcript has 3 KiB to resume, more than limits.resumeSize \(1 KiB\), and could not be compacted: the model is away; nothing of it is lost/,
    )
    expect(process.prompts).toEqual([])
    expect(pool.stats().turns.running).toBe(0)
    process.answersAtOnce = true
    expect(await answer(handle.send('two'))).toBe('[turn 2] You said: two')
    expect(process.commands).toHaveLength(2)
  })

  test('is not compacted for ever', async () => {
    const { handle, driver } = await grown()
    driver.onStart = (process) => void (process.answersAtOnce = false)
    const refused = handle.send('two')
    const process = await driver.process(1)
    for (const commands of [1, 2]) {
      await driver.until(() => process.commands.length === commands)
      process.compact(GROWN)
    }
    await expect(refused.result).rejects.toThrow('a summary of it is as large')
    expect(process.commands).toHaveLength(2)
  })

  test('is not compacted for a turn that was cancelled', async () => {
    const { handle, driver, clock, compactions } = await grown()
    driver.onStart = (process) => void (process.answersAtOnce = false)
    const turn = handle.send('two')
    const process = await driver.process(1)
    await driver.until(() => process.commands.length === 1)
    await turn.interrupt()
    expect(await outcome(turn)).toBe('turn_interrupted')
    await clock.advance(1_000)
    await driver.until(() => process.interrupts === 1)
    process.answersAtOnce = true
    expect(await answer(handle.send('three'))).toBe('[turn 2] You said: three')
    expect(compactions).toHaveLength(1)
  })

  test('has so much time to be compacted', async () => {
    const { handle, driver, clock, reasons } = await grown({
      limits: { inactivityTimeout: 'none', turnTimeout: 'none' },
    })
    driver.onStart = (process) => Object.assign(process, { answersAtOnce: false, heedsInterrupts: false })
    const turn = handle.send('two')
    const process = await driver.process(1)
    await driver.until(() => process.commands.length === 1)
    await clock.advance(10 * 60_000)
    await clock.advance(10_000)
    await expect(turn.result).rejects.toThrow(/could not be compacted: it took longer than 10m/)
    expect(reasons()).toEqual(['hibernate', 'limit'])
  })

  test('is refused, or begun anew, where its agent does not compact', async () => {
    const { handle, driver } = await grown({ onLargeTranscript: 'refuse' })
    await expect(handle.send('two').result).rejects.toThrow(
      "the transcript has 3 KiB to resume, more than limits.resumeSize (1 KiB), and its agent does not have it compacted (onLargeTranscript); delete the session, or let its agent begin anew with onStaleResume: 'fresh'",
    )
    expect(driver.processes).toHaveLength(1)
    const other = await grown({ onLargeTranscript: 'refuse', onStaleResume: 'fresh' })
    expect(await answer(other.handle.send('two'))).toBe('[turn 1] You said: two')
  })
})
