import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Freezing } from '../../src/driver/freezing.ts'
import { GatedProcess } from '../../src/driver/gated-process.ts'
import { Spool } from '../../src/driver/spool.ts'
import { OomWatch } from '../../src/memory/oom.ts'
import { NO_LIMITS } from '../../src/options/cgroup-limits.ts'
import type { WorkerLimits } from '../../src/options/cgroup-limits.ts'
import { HostCgroup, abandonedCgroups } from '../../src/process/cgroup.ts'
import { CONTROLLERS } from '../../src/process/cgroup-tree.ts'
import { pidNamespace, thisHost } from '../../src/process/marker.ts'
import { reap } from '../../src/process/reaper.ts'
import { spawnOwned } from '../../src/process/spawn.ts'
import type { SpawnRequest } from '../../src/process/spawn.ts'
import { terminate } from '../../src/process/terminate.ts'
import { agents, openSite, say, workerOf } from '../fixtures/real-pool.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const GRACES = { eofMs: 0, sigtermMs: 2_000 }
const MIB = 2 ** 20

/** This process's cgroups; the test is skipped where they cannot limit all. */
function hostCgroup(skip: (note: string) => never): HostCgroup {
  const host = HostCgroup.make({ wanted: CONTROLLERS })
  if (host !== undefined) onTestFinished(() => host.remove())
  if (host?.facts.controllers.length !== CONTROLLERS.length) skip('needs cgroups with memory, pids and cpu')
  return host as HostCgroup
}

const request = (script: string, limits?: WorkerLimits): SpawnRequest => ({
  workerId: `w-${process.pid}-${Math.random().toString(36).slice(2)}`,
  command: process.execPath,
  args: ['-e', script],
  cwd: '/',
  env: { PATH: process.env['PATH'] },
  limits,
})

describe('A process in its cgroups', () => {
  test('cannot start more processes than it may, and leaves no cgroup when it has ended', async ({ skip }) => {
    const host = hostCgroup(skip)
    const bomb = `
      const { spawn } = require('node:child_process')
      let failed = 0, started = 0
      const done = () => { if (failed + started === 200) console.log(failed) }
      for (let i = 0; i < 200; i += 1) spawn('sleep', ['60'], { stdio: 'ignore', detached: true })
        .on('error', () => { failed += 1; done() }).on('spawn', () => { started += 1; done() })
      setInterval(() => {}, 1000)`
    const owned = spawnOwned(request(bomb, { ...NO_LIMITS, pids: 80 }), systemClock, host)
    const [failed] = (await once(owned.child.stdout, 'data')) as [Buffer]
    expect(Number(failed)).toBeGreaterThan(110)
    expect(owned.cgroup?.pids.length).toBeLessThanOrEqual(80)
    expect(await terminate(owned, GRACES, systemClock)).toMatchObject({ left: 0 })
    for (const path of host.paths) expect(existsSync(join(path, basename(owned.cgroup?.path ?? '')))).toBe(false)
  })

  test('that takes more memory than it may is killed by the kernel, and its end says so', async ({ skip }) => {
    const host = hostCgroup(skip)
    const folder = await temporaryFolder()
    const hungry = `const kept = []; for (;;) kept.push(Buffer.alloc(${8 * MIB}, 1))`
    const oom = new OomWatch(systemClock)
    onTestFinished(() => oom.stop())
    const hungryProcess = new GatedProcess(request(hungry, { ...NO_LIMITS, memory: 160 * MIB }), {
      clock: systemClock,
      oom,
      cgroup: host,
      freezing: new Freezing(() => undefined, systemClock),
      spool: new Spool(join(folder, 'spool'), MIB),
      onBroken: () => undefined,
      onHeldBack: () => undefined,
      onCut: () => undefined,
    })
    hungryProcess.stdout.resume()
    expect(await hungryProcess.gone).toMatchObject({ cause: 'out_of_memory', memoryLimitBytes: 160 * MIB })
    await hungryProcess.terminate(GRACES)
  })

  test('is there before its first instruction', async ({ skip }) => {
    const host = hostCgroup(skip)
    const says = "process.stdout.write(require('node:fs').readFileSync('/proc/self/cgroup', 'latin1'))"
    const owned = spawnOwned(request(says, { memory: 512 * MIB, pids: 100, cpu: 10 }), systemClock, host)
    const membership = await text(owned.child.stdout)
    expect(membership.match(/claude-agent-pool[^\n]*w-/g)?.length).toBe(host.paths.length)
    await terminate(owned, GRACES, systemClock)
  })
})

test('A fork bomb of one agent ends at most its own worker, in a sandbox too; what it is held to is the agent’s own limit', async ({
  skip,
}) => {
  const host = hostCgroup(skip)
  const site = await openSite()
  const sandbox = existsSync('/usr/bin/bwrap') ? ({ mode: 'bubblewrap' } as const) : {}
  const isolation = { ...sandbox, memory: '2GiB', pids: 300 }
  const pool = await site.pool({ isolation, agents: agents({ allowedTools: ['Bash'], isolation: { pids: 90 } }) })
  expect(pool.stats().isolation.cgroup?.controllers).toEqual(['memory', 'pids'])
  const [one, other] = await Promise.all(['one', 'other'].map((key) => pool.session(key, { agent: 'a' })))
  await Promise.all([one, other].map(async (session) => session && say(session, 'hello')))
  const [{ id }, bystander] = [workerOf(pool, 'one'), workerOf(pool, 'other')]
  const folder = host.paths.map((path) => join(path, id)).find((path) => existsSync(join(path, 'pids.max'))) ?? ''
  expect(readFileSync(join(folder, 'pids.max'), 'latin1')).toBe('90\n')
  const bomb = one?.send('@sim bash for i in $(seq 150); do sleep 60 & done; kill $(jobs -p)')
  // `claude` needs threads itself: it may end for lack of them.
  await bomb?.result.catch(() => undefined)
  expect((await one?.send('and on').result)?.subtype).toBe('success')
  expect(workerOf(pool, 'other')).toEqual(bystander)
  await pool.close()
  expect(host.paths.map((path) => existsSync(join(path, id)))).not.toContain(true)
})

test('What is in the cgroup of a host that is gone ends with it, and the cgroup goes; others stay', async ({
  skip,
}) => {
  const host = HostCgroup.make()
  if (host === undefined) return skip('needs a cgroup that may be divided')
  onTestFinished(() => host.remove())
  const parent = dirname(host.path)
  const gone = join(parent, `claude-agent-pool.4194305.1.${thisHost.bootId}.${pidNamespace()}`)
  const foreign = join(parent, `somebody-else.${process.pid}`)
  mkdirSync(foreign)
  onTestFinished(() => rmdirSync(foreign))
  mkdirSync(join(gone, 'w-1'), { recursive: true })
  const owned = spawnOwned(request('setInterval(() => {}, 1000)'), systemClock)
  // Without its marker nothing but the cgroup says whose it is.
  writeFileSync(join(gone, 'w-1', 'cgroup.procs'), String(owned.child.pid))
  expect(abandonedCgroups()).toContain(gone)
  expect((await reap(systemClock)).pids).toContain(owned.child.pid)
  expect(await owned.exited).toMatchObject({ signal: 'SIGTERM' })
  expect([existsSync(gone), existsSync(foreign), existsSync(host.path)]).toEqual([false, true, true])
})
