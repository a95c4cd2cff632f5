import { expect, test } from 'vitest'
import type { Session, Turn, Usage, WorkerInfo } from '../../src/index.ts'
import { addUsage, NOTHING_USED } from '../../src/usage/usage.ts'
import { startHost } from '../fixtures/other-host.ts'
import {
  asked,
  event,
  isWritten,
  MODEL,
  modelAsked,
  openSite,
  processesOf,
  record,
  until,
  workerOf,
} from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const agents = {
  a: {
    model: MODEL,
    verbatimPrompts: false,
    allowedTools: ['Bash'],
    spares: { max: 0 },
    unboundSpares: { max: 0 },
  },
}

/** What a turn of the main loop used by its own result, which is no running total. */
async function toldBy(turn: Turn): Promise<{ inputTokens: number; outputTokens: number }> {
  const { usage } = await turn.result
  return { inputTokens: usage.input_tokens, outputTokens: usage.output_tokens }
}

const usageOf = async (session: Session): Promise<Usage> => (await session.info()).usage

/** Rounded to a billionth of a dollar. */
const rounded = ({ costUsd, ...rest }: Usage): Usage => ({ ...rest, costUsd: Math.round(costUsd * 1e9) / 1e9 })

test('Each turn counts for what it used, through tools, resumes, a clear, a fork and another host', async () => {
  const site = await openSite()
  const first = await site.pool({ agents })
  const ended = record(first, 'turn.ended')
  const session = await first.session('one', { agent: 'a' })
  const told: Awaited<ReturnType<typeof toldBy>>[] = []
  const say = async (to: Session, text: string): Promise<void> => void told.push(await toldBy(to.send(text)))
  await say(session, 'first')
  await say(session, 'second\n@sim bash echo hello')
  await session.hibernate()
  await say(session, 'third')
  await say(session, '/clear')
  await say(session, 'fourth')
  await session.hibernate()
  await say(session, 'fifth')
  const fork = await session.fork('two')
  await say(fork, 'sixth')
  await say(session, 'seventh')

  expect(ended.map(({ usage }) => usage)).toMatchObject(told)
  expect(told.filter(({ inputTokens }) => inputTokens > 0)).toHaveLength(7)
  expect(ended.every(({ usage }) => usage?.estimated === false)).toBe(true)
  const sum = (key: string): Usage =>
    ended
      .filter(({ session: { key: of } }) => of === key)
      .reduce((all, { usage }) => addUsage(all, usage ?? NOTHING_USED), NOTHING_USED)
  expect(rounded(await usageOf(session))).toEqual(rounded(sum('one')))
  expect(rounded(await usageOf(fork))).toEqual(rounded(sum('two')))
  const { total, byAgent, byTenant } = first.stats().usage
  expect(rounded(total)).toEqual(rounded(addUsage(sum('one'), sum('two'))))
  expect([byAgent, byTenant]).toEqual([{ a: total }, { default: total }])
  // All of one model: the cost is in proportion to input and output.
  const price = (ended[0]?.usage?.costUsd ?? 0) / ((told[0]?.inputTokens ?? 0) + 5 * (told[0]?.outputTokens ?? 0))
  expect(price).toBeGreaterThan(0)
  expect(total.costUsd).toBeCloseTo(price * (total.inputTokens + 5 * total.outputTokens), 9)
  await first.close()

  const second = await site.pool({ agents })
  const again = await second.session('one')
  expect(rounded(await usageOf(again))).toEqual(rounded(sum('one')))
  const { inputTokens } = await toldBy(again.send('eighth'))
  expect((await usageOf(again)).inputTokens).toBe(sum('one').inputTokens + inputTokens)
})

test.runIf(WHOLE)(
  'A turn that is killed counts for what was seen of it, says so, and the next ones count as ever',
  async () => {
    const site = await openSite()
    const pool = await site.pool({ agents })
    const session = await pool.session('one', { agent: 'a' })
    const before = [await toldBy(session.send('first')), await toldBy(session.send('second'))]
    await session.hibernate()
    before.push(await toldBy(session.send('third')))
    const ended = event(pool, 'turn.ended')
    const turn = session.send('fourth\n@sim bash echo hello\n@sim silence')
    await modelAsked(site, 'fourth')
    process.kill(workerOf(pool, 'one').pid, 'SIGKILL')
    await expect(turn.result).rejects.toMatchObject({ code: 'worker_exited' })
    const { usage: lost = NOTHING_USED } = await ended
    expect(lost).toMatchObject({ estimated: true, outputTokens: expect.any(Number) })
    expect(lost.inputTokens).toBeGreaterThan(before[2]?.inputTokens ?? Infinity)
    expect(lost.costUsd).toBeGreaterThan(0)

    const after = [await toldBy(session.send('fifth'))]
    await session.hibernate()
    after.push(await toldBy(session.send('sixth')))
    const inputs = [...before, lost, ...after].reduce((sum, { inputTokens }) => sum + inputTokens, 0)
    expect(await usageOf(session)).toMatchObject({ inputTokens: inputs, estimated: true })
  },
)

test.for([
  { which: 'that ends in order after it', processDies: false, estimated: false },
  { which: 'that is killed with it', processDies: true, estimated: true },
])('A turn whose host is killed counts once, with a process $which', async ({ processDies, estimated }, { skip }) => {
  skip(!WHOLE && processDies, 'a process that ends in order after its host is the harder case')
  const site = await openSite()
  const host = startHost(site, { agents })
  await host.open()
  await host.ask({ do: 'say', key: 'one', text: 'first' })
  await host.ask({ do: 'send', key: 'one', text: "second\n@sim bash echo to''gether\n@sim silence" })
  await isWritten(site, 'together')
  await until(() => expect(asked(site, 'second').map(({ outcome }) => outcome)).toEqual(['answered', 'open']))
  if (processDies) {
    const [worker] = (await host.ask({ do: 'workers' })) as WorkerInfo[]
    // It must not notice, or it would count by itself.
    process.kill(host.pid, 'SIGSTOP')
    process.kill(worker?.pid ?? 0, 'SIGKILL')
  }
  await host.kill()
  await until(async () => expect(await processesOf(site.root)).toEqual([]))

  const pool = await site.pool({ agents })
  const session = await pool.session('one')
  const before = await usageOf(session)
  const lost = pool.stats().usage
  expect(lost.total).toMatchObject({ estimated, costUsd: expect.closeTo(before.costUsd / 2, 3) })
  expect(lost).toMatchObject({ byAgent: { a: lost.total }, byTenant: { default: lost.total } })
  expect(before.inputTokens).toBeGreaterThan(lost.total.inputTokens)
  expect(before.inputTokens).toBeLessThan(2.1 * lost.total.inputTokens)

  const after = [await toldBy(session.send('third'))]
  await session.hibernate()
  after.push(await toldBy(session.send('fourth')))
  const inputs = after.reduce((sum, { inputTokens }) => sum + inputTokens, before.inputTokens)
  expect(await usageOf(session)).toMatchObject({ inputTokens: inputs, estimated })
})
