import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { repeatedly } from '../clock.ts'
import type { Clock } from '../clock.ts'
import { textOf } from './cgroup-tree.ts'

/** A cgroup whose memory is counted. */
export interface MemoryGroup {
  version: 1 | 2
  path: string
}

/** The number after a name in lines like `name 123`. */
export const lineOf = (text: string | undefined, name: string): number | undefined => {
  const value = new RegExp(`^${name} (\\d+)$`, 'm').exec(text ?? '')?.[1]
  return value === undefined ? undefined : Number(value)
}

const numberIn = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text))

/** Bytes that are charged to it, cached files included. */
export const chargedBytes = ({ version, path }: MemoryGroup): number | undefined =>
  numberIn(textOf(join(path, version === 2 ? 'memory.current' : 'memory.usage_in_bytes')))

/** Bytes of it that are paged out. */
export const swappedBytes = ({ version, path }: MemoryGroup): number | undefined =>
  version === 2
    ? numberIn(textOf(join(path, 'memory.swap.current')))
    : lineOf(textOf(join(path, 'memory.stat')), 'total_swap')

/** How often it is looked whether enough has been paged out, in milliseconds. */
const LOOK_MS = 20

/**
 * Has the kernel page out of a cgroup until no more than this is charged to it. It takes up to seconds, in a process of its own, which
 * `abandon()` ends. `done` settles then, too.
 */
export function reclaim(
  group: MemoryGroup,
  leaveBytes: number,
  clock: Clock,
): { abandon: () => void; done: Promise<void> } {
  const charged = chargedBytes(group) ?? 0
  if (charged <= leaveBytes) return { abandon: () => undefined, done: Promise.resolve() }
  const [file, text] = group.version === 2 ? ['memory.reclaim', charged - leaveBytes] : ['memory.force_empty', 0]
  const helper = spawn('/bin/sh', ['-c', 'echo "$2" > "$1"', 'sh', join(group.path, file), String(text)], {
    stdio: 'ignore',
    cwd: '/',
    env: {},
  })
  // v1 goes on until nothing is left.
  const cancel = repeatedly(
    clock,
    () => LOOK_MS,
    () => {
      if ((chargedBytes(group) ?? 0) <= leaveBytes) helper.kill('SIGKILL')
    },
  )
  const done = new Promise<void>((resolve) => {
    helper.once('error', () => resolve())
    helper.once('exit', () => resolve())
  })
  void done.then(cancel)
  return { abandon: () => helper.kill('SIGKILL'), done }
}

/** What swap the machine has, in bytes. */
export function swapSpace(root = ''): { totalBytes: number; freeBytes: number } {
  const text = textOf(join(root, '/proc/meminfo')) ?? ''
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * 1_024
  return { totalBytes: kib('SwapTotal'), freeBytes: kib('SwapFree') }
}
