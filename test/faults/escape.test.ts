import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { openSite, say, until, workerOf } from '../fixtures/real-pool.ts'
import { MCP_SERVER, realAgent } from './agents.ts'
import { expectTrueGauges, measured } from './assertions.ts'
import { oneSession } from './one-session.ts'
import { CAN_HIDE_CGROUPS, startHost } from './child-host.ts'
import { ALL_WAYS, bashTree, treeStands } from './trees.ts'

const LIMIT_MS = 7_000

test.for([true, false])(
  'What a command let go, and a deaf MCP server, go with the session that is deleted (cgroups: %s)',
  async (cgroups, { skip }) => {
    if (!cgroups && !CAN_HIDE_CGROUPS) skip('only root can hide the cgroups of this machine')
    const site = await openSite()
    const host = await startHost(site, { agent: realAgent({ deaf: true }), cgroups })
    await host.say('other', 'first')
    await host.say('one', 'first')
    const turn = host.say('one', await bashTree(site, ALL_WAYS))
    turn.catch(() => undefined)
    const tree = await treeStands(host.witness, ALL_WAYS)
    const worker = (await host.workers()).find(({ session }) => session === 'one')
    await host.witness.sees(MCP_SERVER)
    const deletedAt = performance.now()
    await host.call('delete', 'one')
    await expect(turn).rejects.toMatchObject({ name: 'SessionGoneError' })
    const ms = await host.witness.goneWithin(LIMIT_MS, deletedAt, [
      ...tree,
      ...host.witness.look().filter(({ pid }) => pid === worker?.pid),
    ])
    measured(`session deleted in mid-turn, with all that hides and a deaf MCP server (cgroups: ${cgroups})`, ms)
    expect((await host.say('other', 'next')).text).toBe('[turn 2] You said: next')
    await until(async () => expectTrueGauges(await host.stats(), await host.workers(), host))
    const closedAt = performance.now()
    await host.close()
    await host.witness.goneWithin(LIMIT_MS, closedAt)
  },
)

test('An MCP server that ignores SIGTERM goes with the worker that hibernates', async () => {
  const { pool, witness, session, goesOn } = await oneSession(realAgent({ deaf: true }))
  await say(session, 'first')
  await witness.sees(MCP_SERVER)
  const toldAt = performance.now()
  await session.hibernate()
  measured('deaf MCP server, worker hibernates', await witness.goneWithin(LIMIT_MS, toldAt))
  expectTrueGauges(pool.stats(), pool.workers())
  await goesOn(2)
})

test('An MCP server that ignores SIGTERM goes after its worker was killed', async () => {
  const { pool, witness, session, goesOn } = await oneSession(realAgent({ deaf: true }))
  await say(session, 'first')
  await witness.sees(MCP_SERVER)
  const killedAt = performance.now()
  process.kill(workerOf(pool, 'one').pid, 'SIGKILL')
  measured('deaf MCP server, worker SIGKILLed', await witness.goneWithin(LIMIT_MS, killedAt))
  await goesOn(2)
})

test('An MCP server that ignores SIGTERM goes after its host was killed', async () => {
  const site = await openSite()
  const host = await startHost(site, { agent: realAgent({ deaf: true }) })
  await host.say('one', 'first')
  await host.witness.sees(MCP_SERVER)
  const killedAt = performance.now()
  await host.kill()
  measured('deaf MCP server, host SIGKILLed', await host.witness.goneWithin(LIMIT_MS, killedAt))
  const next = await startHost(site)
  expect((await next.say('one', 'next')).text).toBe('[turn 2] You said: next')
})

test('Where each worker has a cgroup, also what hides in every way at once goes with its host', async ({ skip }) => {
  const site = await openSite()
  const host = await startHost(site)
  await host.say('one', 'first')
  const worker = (await host.workers())[0]
  if (!enclosed(worker?.pid ?? 0)) skip('there is no cgroup v2 tree here that may be written to')
  void host.say('one', await bashTree(site, ['everything at once'])).catch(() => undefined)
  await treeStands(host.witness, ['everything at once'])
  const killedAt = performance.now()
  await host.kill()
  measured('host SIGKILLed, everything hidden at once, in a cgroup', await host.witness.goneWithin(LIMIT_MS, killedAt))
})

const enclosed = (pid: number): boolean =>
  existsSync(`/proc/${pid}/cgroup`) && /claude-agent-pool/.test(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))
