import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { MemoryBox } from '../../../src/memory/box.ts'

const GIB = 2 ** 30

/** A folder that looks like where cgroups are mounted. Unlike the kernel's, a folder with files cannot be removed. */
function mount(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'pool-box-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, '..'), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

const v1 = (): string => mount({ 'memory/memory.limit_in_bytes': '9223372036854771712\n' })
const v2 = (): string => mount({ 'cgroup.controllers': 'cpu memory pids\n', 'cgroup.subtree_control': 'cpu\n' })

describe('A memory box', () => {
  test('limits memory, and memory with swap, where cgroups are of version 1', () => {
    const box = MemoryBox.make(2 * GIB, v1())
    expect(box?.path).toContain('/memory/claude-agent-pool-box.')
    const text = (file: string): string => readFileSync(join(box?.path ?? '', file), 'latin1')
    expect(text('memory.limit_in_bytes')).toBe(String(2 * GIB))
    expect(text('memory.memsw.limit_in_bytes')).toBe(String(2 * GIB))
    writeFileSync(join(box?.path ?? '', 'memory.usage_in_bytes'), '1000\n')
    writeFileSync(join(box?.path ?? '', 'memory.stat'), 'inactive_file 1\ntotal_inactive_file 300\n')
    writeFileSync(join(box?.path ?? '', 'memory.oom_control'), 'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n')
    expect(box?.read()).toEqual({ usedBytes: 700, oomKills: 3 })
  })

  test('hands the controller down and forbids swap, where they are of version 2', () => {
    const root = v2()
    const box = MemoryBox.make(GIB, root)
    expect(readFileSync(join(root, 'cgroup.subtree_control'), 'latin1')).toBe('+memory')
    const text = (file: string): string => readFileSync(join(box?.path ?? '', file), 'latin1')
    expect(text('memory.max')).toBe(String(GIB))
    expect(text('memory.swap.max')).toBe('0')
    writeFileSync(join(box?.path ?? '', 'memory.current'), '1000\n')
    writeFileSync(join(box?.path ?? '', 'memory.stat'), 'anon 600\ninactive_file 300\n')
    writeFileSync(join(box?.path ?? '', 'memory.events'), 'low 0\noom 2\noom_kill 1\n')
    expect(box?.read()).toEqual({ usedBytes: 700, oomKills: 1 })
  })

  test('is not made where there is no controller to be had', () => {
    expect(MemoryBox.make(GIB, mount({ 'memory/tasks': '' }))).toBeUndefined()
    expect(MemoryBox.make(GIB, mount({ 'cgroup.controllers': 'cpu pids\n' }))).toBeUndefined()
    expect(MemoryBox.make(GIB, '/nowhere')).toBeUndefined()
  })

  test('takes with it those of processes that are gone, and leaves those of others', () => {
    const root = v1()
    mkdirSync(join(root, 'memory', `claude-agent-pool-box.${2 ** 30}.1`))
    mkdirSync(join(root, 'memory', `claude-agent-pool-box.${process.pid}.999`))
    mkdirSync(join(root, 'memory', 'docker'))
    MemoryBox.make(GIB, root)
    const left = readdirSync(join(root, 'memory')).filter((name) => !name.startsWith('memory.'))
    expect(left).toHaveLength(3)
    expect(left).not.toContain(`claude-agent-pool-box.${2 ** 30}.1`)
  })
})
