import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { HostCgroup } from '../../src/process/cgroup.ts'
import { swapSpace } from '../../src/process/cgroup-memory.ts'
import { spawnOwned } from '../../src/process/spawn.ts'
import { terminate } from '../../src/process/terminate.ts'
import { realAgent } from '../faults/agents.ts'
import { startHost } from '../faults/child-host.ts'
import { MODEL, agents, openSite, record, say, until, workerOf } from '../fixtures/real-pool.ts'

const MIB = 2 ** 20
const HAS_SWAP = swapSpace().freeBytes > 512 * MIB
const HAS_BUBBLEWRAP = existsSync('/usr/bin/bwrap')
const SOON = { freeze: 'auto', freezeAfter: '1ms' } as const

/** What the kernel says of the cgroup that this process is in. */
function isFrozen(pid: number): boolean {
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))?.[1] ?? ''
  return ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].some((mount) => {
    const events = join(mount, path, 'cgroup.events')
    return existsSync(events) && readFileSync(events, 'latin1').includes('frozen 1')
  })
}

test('What is frozen and told to end goes on first, and ends by itself', async ({ skip }) => {
  const host = HostCgroup.make()
  if (host === undefined) return skip('needs a cgroup that may be divided')
  onTestFinished(() => host.remove())
  const owned = spawnOwned(
    {
      workerId: `w-${process.pid}`,
      command: process.execPath,
      args: ['-e', "console.log('up'); process.stdin.resume().on('end', () => process.exit(0))"],
      cwd: '/',
      env: {},
    },
    systemClock,
    host,
  )
  const pid = owned.child.pid ?? 0
  await once(owned.child.stdout, 'data')
  owned.cgroup?.freeze()
  await until(() => expect(isFrozen(pid)).toBe(true))
  expect(await terminate(owned, { eofMs: 10_000, sigtermMs: 1_000 }, systemClock)).toMatchObject({
    stage: 'eof',
    left: 0,
  })
})

describe.skipIf(!HAS_SWAP)('On a machine with swap, an idle worker', () => {
  test('is stopped and paged out; its next turn goes on in it, and it ends like any other', async ({ skip }) => {
    const site = await openSite()
    const pool = await site.pool({ residency: SOON, agents: agents({ allowedTools: ['Bash'] }) })
    if (pool.stats().isolation.cgroup?.controllers.includes('memory') !== true) return skip('needs a memory cgroup')
    const closed = record(pool, 'worker.closed')
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'hello')
    const { pid } = workerOf(pool, 'one')
    await until(() => expect(isFrozen(pid)).toBe(true))
    await until(() => expect(pool.workers()[0]?.swappedBytes ?? 0).toBeGreaterThan(20 * MIB))
    expect(pool.workers()).toMatchObject([{ state: 'frozen' }])
    expect(await say(session, '@sim bash echo awake')).toEqual({ text: '[turn 2] tool said: awake', warmth: 'thawed' })
    expect(workerOf(pool, 'one').pid).toBe(pid)
    await until(() => expect(isFrozen(pid)).toBe(true))
    await session.hibernate()
    expect(closed).toMatchObject([{ reason: 'hibernate', termination: { stage: 'eof', left: 0 } }])
    expect((await say(session, 'again')).warmth).toBe('resumed')
  })

  test.each([
    ['without a sandbox', {}, 7_000],
    ...(HAS_BUBBLEWRAP ? [['in a sandbox', { isolation: { mode: 'bubblewrap' } }, 1_000] as const] : []),
  ] as const)('ends with its host that is killed: %s', async (_where, options, limitMs) => {
    const site = await openSite()
    // Its MCP server is not shown in a sandbox.
    const agent = 'isolation' in options ? { model: MODEL, spares: { max: 0 } } : realAgent()
    const host = await startHost(site, { residency: SOON, ...options, agent })
    await host.say('one', 'hello')
    const pid = (await host.workers())[0]?.pid ?? 0
    await until(() => expect(isFrozen(pid)).toBe(true))
    const killedAt = performance.now()
    await host.kill()
    await host.witness.goneWithin(limitMs, killedAt)
  })
})
