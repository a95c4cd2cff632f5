import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { HostCgroup } from '../../src/process/cgroup.ts'

const cgroup = HostCgroup.make()
afterAll(() => cgroup?.remove())

test.skipIf(cgroup === undefined)('The cgroup of a host that is gone is removed by the next one; others stay', () => {
  const parent = dirname(cgroup?.path ?? '')
  const stale = join(parent, 'claude-agent-pool.4194305.1.another-boot')
  const foreign = join(parent, `somebody-else.${process.pid}`)
  for (const path of [stale, join(stale, 'w-1'), foreign]) mkdirSync(path)
  try {
    HostCgroup.make()
    expect(existsSync(stale)).toBe(false)
    expect(existsSync(foreign)).toBe(true)
    expect(existsSync(cgroup?.path ?? '')).toBe(true)
  } finally {
    rmdirSync(foreign)
  }
})
