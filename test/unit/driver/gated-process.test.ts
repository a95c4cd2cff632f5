import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { Freezing } from '../../../src/driver/freezing.ts'
import { GatedProcess } from '../../../src/driver/gated-process.ts'
import type { GatedContext, GatedExit } from '../../../src/driver/gated-process.ts'
import { Spool } from '../../../src/driver/spool.ts'
import { OomWatch } from '../../../src/memory/oom.ts'
import { HostCgroup } from '../../../src/process/cgroup.ts'
import type { SpawnRequest } from '../../../src/process/spawn.ts'
import { FakeClock } from '../../../src/testing/index.ts'
import { V2_SERVICE, recordedTree } from '../../fixtures/cgroup-tree.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const GRACES = { eofMs: 30_000, sigtermMs: 30_000 }
const LIMITS = { memory: 2 ** 28, pids: undefined, cpu: undefined }

/** Ends when its input does. */
const UNTIL_EOF = 'cat >/dev/null'

let workers = 0

interface Setup {
  gated: GatedProcess
  /** What it told its owner. */
  broken: () => number
}

/** A shell that runs this, behind the gate. */
async function start(
  script: string,
  more: Partial<Pick<GatedContext, 'clock' | 'oom' | 'cgroup'>> & Partial<SpawnRequest> = {},
): Promise<Setup> {
  const folder = await temporaryFolder()
  const { clock = systemClock, oom = new OomWatch(clock, () => undefined), cgroup, ...request } = more
  onTestFinished(() => oom.stop())
  let broken = 0
  const gated = new GatedProcess(
    {
      workerId: `gated-${process.pid}-${(workers += 1)}`,
      command: 'sh',
      args: ['-c', script],
      cwd: folder,
      env: { PATH: process.env['PATH'] },
      ...request,
    },
    {
      clock,
      oom,
      cgroup,
      freezing: new Freezing(() => undefined, clock),
      spool: new Spool(join(folder, 'spool'), 1_000_000),
      onBroken: () => (broken += 1),
      onHeldBack: () => undefined,
      onCut: () => undefined,
    },
  )
  onTestFinished(async () => {
    await gated.terminate({ eofMs: 0, sigtermMs: 1_000 })
  })
  gated.stdout.resume()
  return { gated, broken: () => broken }
}

const causeOf = async ({ gated }: Setup): Promise<string> => (await gated.gone).cause

describe('How a process ended', () => {
  test.each([
    ['exit 0', { cause: 'normal', exitCode: 0, signal: null }],
    ['echo trouble >&2; exit 3', { cause: 'crash', exitCode: 3, stderr: 'trouble\n' }],
    ['kill -TERM $$', { cause: 'signal', exitCode: null, signal: 'SIGTERM' }],
    ['kill -KILL $$', { cause: 'signal', signal: 'SIGKILL' }],
  ] as const)('by "%s" is told by its cause', async (script, exit) => {
    const { gated } = await start(script)
    const gone = await gated.gone
    expect(gone).toMatchObject(exit)
    expect('violation' in gone || 'memoryLimitBytes' in gone).toBe(false)
  })

  test('is "not_started" for a command that does not exist, which the SDK hears as an error', async () => {
    const { gated, broken } = await start('', { command: '/nowhere/claude' })
    const error = once(gated, 'error')
    expect(await gated.gone).toMatchObject({ cause: 'not_started', exitCode: null })
    expect(await error).toEqual([expect.objectContaining({ code: 'ENOENT' })])
    expect([gated.pid, broken()]).toEqual([undefined, 0])
    expect((await gated.terminate(GRACES)).stage).toBe('gone')
  })

  test('is "ended" if the pool ended it, and is not if it had gone before', async () => {
    const running = await start(UNTIL_EOF)
    expect((await running.gated.terminate(GRACES)).stage).toBe('eof')
    expect(await causeOf(running)).toBe('ended')
    const crashed = await start('exit 3')
    await once(crashed.gated, 'exit')
    await crashed.gated.terminate(GRACES)
    expect(await causeOf(crashed)).toBe('crash')
  })

  test('is "out_of_memory" for SIGKILL alone, and if the kernel has just killed for memory on this host', async () => {
    let kills = 0
    const endedAs = async (script: string): Promise<GatedExit> => {
      const clock = new FakeClock()
      const oom = new OomWatch(clock, () => kills)
      const { gated } = await start(script, { clock, oom })
      kills += 1
      gated.stdin.end()
      return gated.gone
    }
    expect(await endedAs(`${UNTIL_EOF}; kill -KILL $$`)).toMatchObject({ cause: 'out_of_memory' })
    expect(await endedAs(`${UNTIL_EOF}; kill -TERM $$`)).toMatchObject({ cause: 'signal' })
  })
})

describe('The end of a process in a cgroup of its own', () => {
  const cgroups = (): { host: HostCgroup; say: (workerId: string, events: string) => void } => {
    const { root } = recordedTree(V2_SERVICE)
    const host = HostCgroup.make({ wanted: ['memory'], root }) as HostCgroup
    const say = (workerId: string, events: string): void => {
      mkdirSync(join(host.path, workerId), { recursive: true })
      writeFileSync(join(host.path, workerId, 'memory.events'), events)
    }
    return { host, say }
  }

  test.each([
    ['oom 1\noom_kill 1\n', { cause: 'out_of_memory', memoryLimitBytes: LIMITS.memory }],
    ['oom 0\noom_kill 1\n', { cause: 'out_of_memory' }],
    ['oom 1\noom_kill 0\n', { cause: 'signal' }],
  ])('is told with its limit if the kernel killed there for that: %j', async (events, expected) => {
    const { host, say } = cgroups()
    const workerId = `in-cgroup-${(workers += 1)}`
    say(workerId, 'oom 0\noom_kill 0\n')
    const clock = new FakeClock()
    const { gated } = await start(`${UNTIL_EOF}; kill -KILL $$`, { clock, cgroup: host, limits: LIMITS, workerId })
    expect(gated.frozen).toBeDefined()
    say(workerId, events)
    gated.stdin.end()
    const { cause, memoryLimitBytes } = await gated.gone
    expect({ cause, memoryLimitBytes }).toEqual({ memoryLimitBytes: undefined, ...expected })
  })
})

describe('While it runs, the SDK', () => {
  test('sees a process that lives, and that no signal of the SDK ends', async () => {
    const { gated } = await start(UNTIL_EOF)
    expect([gated.alive, gated.exitCode, gated.signalCode, gated.killed]).toEqual([true, null, null, false])
    expect(gated.kill()).toBe(true)
    expect([gated.alive, gated.killed]).toEqual([true, false])
    gated.stdin.end()
    expect(gated.alive).toBe(false)
    await gated.gone
  })

  test('hears of the exit when it has read the last line, and not before', async () => {
    const { gated } = await start('echo \'{"type":"result"}\'; kill -TERM $$')
    gated.stdout.pause()
    const exits: unknown[] = []
    gated.on('exit', (...how) => exits.push(how))
    await gated.gone
    expect([exits, gated.exitCode, gated.signalCode, gated.alive]).toEqual([[], null, null, false])
    const exited = once(gated, 'exit')
    const texts: string[] = []
    gated.stdout.on('data', (text: string) => texts.push(text)).resume()
    await exited
    expect(texts.join('')).toBe('{"type":"result"}\n')
    expect([exits, gated.signalCode]).toEqual([[[null, 'SIGTERM']], 'SIGTERM'])
  })

  test('is known by when it said something last', async () => {
    const clock = new FakeClock()
    await clock.advance(1_000)
    const { gated } = await start('read -r line; echo \'{"type":"result"}\'; cat >/dev/null', { clock })
    expect(gated.lastOutputAt).toBe(1_000)
    await clock.advance(500)
    expect(gated.lastOutputAt).toBe(1_000)
    gated.stdin.write('go\n')
    await once(gated.stdout, 'data')
    expect(gated.lastOutputAt).toBe(1_500)
  })

  test('and others hear its stderr', async () => {
    const { gated } = await start(`echo one >&2; ${UNTIL_EOF}; echo two >&2`)
    const said: string[] = []
    gated.onStderr((text) => said.push(text))
    gated.stdin.end()
    await gated.gone
    expect(said.join('')).toBe('one\ntwo\n')
  })
})

describe('A process that closes its stdout', () => {
  const CLOSES = `exec >/dev/null; ${UNTIL_EOF}`

  test('and lives on for a second after that is to be ended, and that is an error for the SDK', async () => {
    const clock = new FakeClock()
    const { gated, broken } = await start(CLOSES, { clock })
    await once(gated.stdout, 'end')
    await clock.advance(999)
    expect(broken()).toBe(0)
    await clock.advance(1)
    expect(broken()).toBe(1)
    const error = once(gated, 'error')
    gated.stdin.end()
    expect(await gated.gone).toMatchObject({ cause: 'normal', violation: 'it closed its stdout' })
    expect(await error).toEqual([expect.objectContaining({ message: 'it closed its stdout' })])
  })

  test('is an exit where nobody listens for errors', async () => {
    const clock = new FakeClock()
    const { gated } = await start(CLOSES, { clock })
    await once(gated.stdout, 'end')
    await clock.advance(1_000)
    const code = new Promise((resolve) => void gated.once('exit', resolve))
    gated.stdin.end()
    expect(await code).toBe(0)
  })

  test('because it exits, or because the pool ends it, does nothing wrong', async () => {
    const clock = new FakeClock()
    const exited = await start('exit 0', { clock })
    await exited.gated.gone
    const ended = await start(CLOSES, { clock })
    await once(ended.gated.stdout, 'end')
    const report = ended.gated.terminate(GRACES)
    await clock.advance(1_000)
    await report
    expect([exited.broken(), ended.broken()]).toEqual([0, 0])
    expect((await ended.gated.gone).violation).toBeUndefined()
  })
})

test('The output of a process that is gone ends, also if something it started keeps it open', async () => {
  const clock = new FakeClock()
  const { gated } = await start('sleep 600 & exit 0', { clock })
  onTestFinished(() => void process.kill(-(gated.pid ?? 0), 'SIGKILL'))
  const exit = once(gated, 'exit')
  const gone = gated.gone
  let isOver = false
  void exit.then(() => (isOver = true))
  // Its stderr is open as long as its stdout.
  while (!(await settled(gone))) await clock.advance(200)
  expect(isOver).toBe(false)
  await clock.advance(500)
  expect(await exit).toEqual([0, null])
})

const settled = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([
    promise.then(() => true),
    new Promise<false>((resolve) => void setImmediate(() => setImmediate(() => resolve(false)))),
  ])
