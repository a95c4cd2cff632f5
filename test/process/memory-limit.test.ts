import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { MemoryRoom } from '../../src/index.ts'

const MIB = 2 ** 20
const CONTROLLER = '/sys/fs/cgroup/memory'

/** A cgroup of version 1 with a limit and another below it without one; undefined where none may be made. */
function makeCgroups(limitBytes: number): [outer: string, inner: string] | undefined {
  const own = /^\d+:memory:(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'latin1'))?.[1]
  const outer = join(CONTROLLER, own ?? '', `claude-agent-pool-limit-${process.pid}`)
  const inner = join(outer, 'inner')
  try {
    mkdirSync(inner, { recursive: true })
    writeFileSync(join(outer, 'memory.limit_in_bytes'), String(limitBytes))
  } catch {
    return undefined
  }
  onTestFinished(() => {
    rmdirSync(inner)
    rmdirSync(outer)
  })
  return [outer, inner]
}

test('What a real memory cgroup bounds, and what is used there, is found from inside of it', async ({ skip }) => {
  const cgroups = makeCgroups(512 * MIB)
  if (cgroups === undefined) return skip('needs root and a memory controller of cgroup v1 that may be written to')
  const [outer, inner] = cgroups
  const child = fork(join(import.meta.dirname, '../fixtures/memory-reader.ts'), ['100'])
  const exited = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
  })
  await once(child, 'spawn')
  writeFileSync(join(inner, 'cgroup.procs'), String(child.pid))
  const hold = async (): Promise<MemoryRoom> => {
    child.send('hold')
    return ((await once(child, 'message')) as [MemoryRoom])[0]
  }
  const room = await hold()
  expect([outer, inner]).toContain(room.level)
  expect(room.limitBytes).toBe(512 * MIB)
  expect(room.usedBytes / MIB).toBeGreaterThan(90)
  expect(room.usedBytes / MIB).toBeLessThan(300)
  // A limit may be lowered while a pool runs.
  writeFileSync(join(outer, 'memory.limit_in_bytes'), String(400 * MIB))
  const next = await hold()
  expect(next.limitBytes).toBe(400 * MIB)
  expect(next.usedBytes - room.usedBytes).toBeGreaterThan(90 * MIB)
})
