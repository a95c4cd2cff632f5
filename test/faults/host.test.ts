import { expect, test } from 'vitest'
import { isWritten, modelAsked, openSite, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { MCP_SERVER, realAgent } from './agents.ts'
import { expectTrueGauges, measured } from './assertions.ts'
import { CAN_HIDE_CGROUPS, startHost } from './child-host.ts'
import type { ChildHost, HostOptions } from './child-host.ts'
import { ALL_WAYS, bashTree, treeStands } from './trees.ts'
import { sentinelsOf } from './witness.ts'

const LIMIT_MS = 7_000

interface Moment {
  when: string
  options?: HostOptions
  /** Brings the host there, with the session `one` if it has one; resolves at the moment in which it is killed. */
  reach: (site: Site, host: ChildHost) => Promise<unknown>
  /** Prompts of the session `one` that the model has seen. */
  prompts: number
}

const moments: Moment[] = [
  {
    when: 'while a worker is idle',
    reach: async (_, host) => {
      await host.say('one', 'first')
      await host.witness.sees(MCP_SERVER)
    },
    prompts: 1,
  },
  {
    when: 'while it keeps spares',
    options: { agent: realAgent({ spares: { min: 1, max: 1 }, unboundSpares: { min: 1, max: 1 } }) },
    reach: (_, host) =>
      Promise.all([
        until(async () => expect((await host.stats()).workers.spares).toBe(2)),
        host.witness.sees(MCP_SERVER),
      ]),
    prompts: 0,
  },
  {
    when: 'in mid-turn, waiting for the model',
    reach: async (site, host) => {
      await host.say('one', 'first')
      void host.say('one', 'second\n@sim silence').catch(() => undefined)
      await modelAsked(site, 'second')
      await isWritten(site, 'second')
      await host.witness.sees(MCP_SERVER)
    },
    prompts: 2,
  },
  {
    when: 'in mid-turn, with a Bash command and all that this let go',
    reach: async (site, host) => {
      await host.say('one', 'first')
      void host.say('one', await bashTree(site, ALL_WAYS)).catch(() => undefined)
      await treeStands(host.witness, ALL_WAYS)
    },
    prompts: 2,
  },
  {
    when: 'in mid-turn, with a Bash command and all that this let go, where there are no cgroups',
    options: { cgroups: false },
    reach: async (site, host) => {
      await host.say('one', 'first')
      void host.say('one', await bashTree(site, ALL_WAYS)).catch(() => undefined)
      await treeStands(host.witness, ALL_WAYS)
    },
    prompts: 2,
  },
  {
    when: 'at the moment in which it starts a worker',
    reach: async (_, host) => {
      const started = host.event('worker.started')
      void host.say('one', 'first').catch(() => undefined)
      await started
    },
    prompts: 0,
  },
  {
    when: 'while a worker starts and has started others',
    reach: async (_, host) => {
      void host.call('warm', 'one').catch(() => undefined)
      await host.witness.sees(MCP_SERVER)
    },
    prompts: 0,
  },
]

test.for(moments)(
  'A host that is killed $when leaves no process, and the next host goes on',
  async ({ when, options, reach, prompts }, { skip }) => {
    if (options?.cgroups === false && !CAN_HIDE_CGROUPS) skip('only root can hide the cgroups of this machine')
    const site = await openSite()
    const host = await startHost(site, options)
    await reach(site, host)
    host.witness.look()
    const sentinels = sentinelsOf(host)
    expect(sentinels).toHaveLength(1)
    const killedAt = performance.now()
    await host.kill()
    measured(`host SIGKILLed ${when}`, await host.witness.goneWithin(LIMIT_MS, killedAt))
    await until(() => expect(sentinelsOf(host)).toEqual([]))

    const next = await startHost(site)
    expect((await next.say('one', 'next')).text).toBe(`[turn ${prompts + 1}] You said: next`)
    expectTrueGauges(await next.stats(), await next.workers(), next)
  },
)

test('Of two hosts on one machine, one that is killed takes nothing of the other with it', async () => {
  const [mine, other] = [await openSite(), await openSite()]
  const host = await startHost(mine)
  const neighbour = await startHost(other)
  await host.say('one', 'first')
  const turn = neighbour.say('one', await bashTree(other, ['a new parent']))
  turn.catch(() => undefined)
  const theirs = await treeStands(neighbour.witness, ['a new parent'])
  const killedAt = performance.now()
  await host.kill()
  measured('host SIGKILLed beside another one', await host.witness.goneWithin(LIMIT_MS, killedAt))
  await until(() => expect(sentinelsOf(host)).toEqual([]))
  const living = neighbour.witness.look().map(({ pid }) => pid)
  expect(living).toEqual(expect.arrayContaining(theirs.map(({ pid }) => pid)))
  expect((await neighbour.stats()).turns.running).toBe(1)
  expect((await neighbour.say('two', 'first')).text).toBe('[turn 1] You said: first')
})

test('A sentinel that is killed is replaced, and the death of the host still leaves nothing', async () => {
  const site = await openSite()
  const host = await startHost(site)
  await host.say('one', 'first')
  void host.say('one', await bashTree(site, ALL_WAYS)).catch(() => undefined)
  await treeStands(host.witness, ALL_WAYS)
  const [first] = sentinelsOf(host)
  const told = host.event('warning')
  process.kill(first?.pid ?? 0, 'SIGKILL')
  expect(await told).toMatchObject({ message: expect.stringContaining('another one follows') })
  // It is posted when it can be seen, and guards when it has looked at the table for the first time.
  await until(() => {
    const [second] = sentinelsOf(host)
    expect(second).toBeDefined()
    expect(second?.pid).not.toBe(first?.pid)
  })
  const killedAt = performance.now()
  await host.kill()
  measured('host SIGKILLed after its sentinel', await host.witness.goneWithin(LIMIT_MS, killedAt))
  const next = await startHost(site)
  expect((await next.say('one', 'next')).text).toBe('[turn 3] You said: next')
  expectTrueGauges(await next.stats(), await next.workers(), next)
})
