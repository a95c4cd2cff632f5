import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openSite, until } from '../fixtures/real-pool.ts'
import { MCP_SERVER } from './agents.ts'
import { expectTrueGauges, measured } from './assertions.ts'
import { startHost } from './child-host.ts'
import { isProxy, living } from './procfs.ts'

const CONTROLLER = '/sys/fs/cgroup/memory'
const MIB = 2 ** 20
const LIMIT_BYTES = 1024 * MIB

/** A memory cgroup (v1) with this limit; undefined where none may be made. It is removed at the end. */
function makeCgroup(): string | undefined {
  const path = join(CONTROLLER, `claude-agent-pool-faults-${process.pid}-${Math.round(performance.now())}`)
  try {
    mkdirSync(path)
    writeFileSync(join(path, 'memory.limit_in_bytes'), String(LIMIT_BYTES))
  } catch {
    return undefined
  }
  onTestFinished(() => until(() => rmdirSync(path)))
  return path
}

const NONE = 'needs root and a memory controller of cgroup v1 that may be written to'

function preferFor(pid: number, score: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score))
  } catch {
    // A short sleep of the script that has just ended.
  }
}

test('A worker that the kernel kills for memory is named as such; its host lives, and the session goes on', async ({
  skip,
}) => {
  const cgroup = makeCgroup()
  if (cgroup === undefined) return skip(NONE)
  const site = await openSite()
  // Else the pool would have ended it before the kernel does.
  const host = await startHost(site, { limits: { memory: 'none' } }, ({ pid }) =>
    writeFileSync(join(cgroup, 'cgroup.procs'), String(pid)),
  )
  await host.say('one', 'first')
  await host.witness.sees(MCP_SERVER)
  const worker = (await host.workers())[0]?.pid ?? 0
  const before = living().filter((entry) => entry.host?.pid === host.pid && !isProxy(entry))
  expect(before.length).toBeGreaterThanOrEqual(2)
  for (const { pid } of before) expect(readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1').trim()).toBe('500')
  const script = join(site.root, 'allocate.sh')
  const [up, go] = [join(site.root, 'up'), join(site.root, 'go')]
  const allocate = `${process.execPath} -e 'Buffer.alloc(${2 * LIMIT_BYTES}, 1)'`
  await writeFile(script, `touch ${up}\nwhile [ ! -e ${go} ]; do sleep 0.05; done\nexec ${allocate}\n`)
  const left = host.event('worker.closed')
  const turn = host.say('one', `@sim bash sh ${script}`).catch((reason: unknown) => reason)
  await until(() => access(up))
  // Of what it may kill the kernel is to choose the agent process, not the tool that takes the memory.
  for (const { pid } of host.witness.look()) preferFor(pid, pid === worker ? 1_000 : 0)
  await writeFile(go, '')
  const error = await turn
  const toldAt = performance.now()
  expect(error).toMatchObject({
    name: 'WorkerExitedError',
    signal: 'SIGKILL',
    exitCause: 'out_of_memory',
    oomKilled: true,
    message: expect.stringContaining('the kernel killed it for memory'),
  })
  expect(await left).toMatchObject({ reason: 'exited', exit: { cause: 'out_of_memory' } })
  measured('worker killed for memory', await host.witness.goneWithin(2_000, toldAt))
  expect(readFileSync(join(cgroup, 'memory.oom_control'), 'latin1')).toMatch(/oom_kill [1-9]/)
  expect((await host.say('one', 'next')).text).toBe('[turn 3] You said: next')
  expectTrueGauges(await host.stats(), await host.workers(), host)
})

test('A tool that the kernel kills for memory takes nobody with it', async ({ skip }) => {
  const cgroup = makeCgroup()
  if (cgroup === undefined) return skip(NONE)
  const site = await openSite()
  // Else the pool would have ended it before the kernel does.
  const host = await startHost(site, { limits: { memory: 'none' } }, ({ pid }) =>
    writeFileSync(join(cgroup, 'cgroup.procs'), String(pid)),
  )
  await host.say('one', 'first')
  expect((await host.say('one', '@sim allocate 2000')).text).toContain('[turn 2] tool said:')
  expect(readFileSync(join(cgroup, 'memory.oom_control'), 'latin1')).toMatch(/oom_kill [1-9]/)
  expect((await host.say('one', 'next')).text).toBe('[turn 3] You said: next')
  expectTrueGauges(await host.stats(), await host.workers(), host)
})
