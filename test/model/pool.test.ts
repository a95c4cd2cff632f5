import fc from 'fast-check'
import type { AsyncCommand } from 'fast-check'
import { expect, test } from 'vitest'
import type { OnBusy, Session, Turn } from '../../src/index.ts'
import { createTestPool } from '../../src/testing/index.ts'
import type { FakeProcess, TestPool, TestPoolOptions } from '../../src/testing/index.ts'
import { agree } from './agree.ts'

/** An upper bound for a busy machine. */
const PATIENCE_MS = 120_000

const SEED = 20_260_101
const KEYS = ['a', 'b', 'c', 'd', 'e', 'f']
const MINUTE = 60_000
const MIB = 2 ** 20

interface Sent {
  key: string
  turn: Turn
  abort: AbortController
  /** `result`, or the code of the error. */
  outcome: string | undefined
  noted: boolean
}

/** What is expected: a few integers. */
interface Model {
  /** Turns that were sent and have not ended. */
  open: number
  /** By key: results that the caller got since the session was begun. */
  results: Map<string, number>
  suspended: boolean
}

/** The pool under test, with all that happened. */
class Real {
  readonly test: TestPool
  readonly handles = new Map<string, Session>()
  readonly sent: Sent[] = []
  readonly counts = { started: 0, left: 0, turnsStarted: 0, turnsEnded: 0, created: 0, deleted: 0 }
  readonly unhandled: unknown[] = []
  /** How processes that start from now on behave. */
  slowStarts = false
  failingStarts = false
  holding = false
  number = 0

  constructor(test: TestPool) {
    this.test = test
    const { pool, driver } = test
    pool.on('worker.started', () => void (this.counts.started += 1))
    pool.on('worker.closed', () => void (this.counts.left += 1))
    pool.on('turn.started', () => void (this.counts.turnsStarted += 1))
    pool.on('turn.ended', () => void (this.counts.turnsEnded += 1))
    pool.on('session.created', () => void (this.counts.created += 1))
    pool.on('session.deleted', () => void (this.counts.deleted += 1))
    driver.onStart = (process) => {
      process.readyAtOnce = !this.slowStarts
      process.answersAtOnce = !this.holding
      if (this.failingStarts) process.failToStart()
    }
  }

  /** One of the living processes. */
  process(which: number): FakeProcess | undefined {
    const { living } = this.test.driver
    return living[which % Math.max(living.length, 1)]
  }

  async session(key: string): Promise<Session> {
    const handle = this.handles.get(key) ?? (await this.test.pool.session(key, { agent: 'assistant' }))
    this.handles.set(key, handle)
    return handle
  }

  /** Sends a prompt that was never sent before. */
  async send(model: Model, key: string, onBusy: OnBusy): Promise<void> {
    const handle = await this.session(key)
    const abort = new AbortController()
    const turn = handle.send(`prompt ${(this.number += 1)}`, { signal: abort.signal, onBusy })
    const sent: Sent = { key, turn, abort, outcome: undefined, noted: false }
    turn.result.then(
      () => (sent.outcome = 'result'),
      (error: Error & { code?: string }) => (sent.outcome = error.code ?? error.message),
    )
    model.open += 1
    this.sent.push(sent)
  }
}

const sum = (counts: Record<string, number | undefined>): number =>
  Object.values(counts).reduce<number>((total, count) => total + (count ?? 0), 0)

/** What must hold whatever has happened. */
function check(model: Model, real: Real): void {
  const { pool, driver } = real.test
  const { counts } = real
  const stats = pool.stats()
  const { starting, idle, busy, closing, closed, total, spares } = stats.workers
  const workers = pool.workers()
  agree('workers by state', starting + idle + busy + closing, total)
  agree('closed workers', closed, 0)
  agree('workers', workers.length, total)
  agree('processes', driver.living.length, total)
  agree('spares that are not idle', Math.max(spares - idle, 0), 0)
  agree('workers by their events', counts.started - counts.left, total)
  agree('starts', stats.totals.starts, counts.started)
  agree('departures', sum(stats.totals.closedByReason), counts.left)
  agree('turns by warmth', sum(stats.totals.turnsByWarmth), counts.turnsStarted)
  agree('turns by outcome', sum(stats.totals.turnsByOutcome), counts.turnsEnded)
  agree('turns beyond the limit', Math.max(stats.turns.running, stats.turns.limit), stats.turns.limit)
  agree('busy workers without a turn', Math.max(busy - stats.turns.running, 0), 0)
  agree('open turns', real.sent.filter(({ outcome }) => outcome === undefined).length, model.open)
  agree('turns of nobody', Math.max(stats.turns.running + stats.turns.waiting - model.open, 0), 0)
  // Never two processes for one session, nor two for one conversation.
  for (const identity of ['session', 'sdkSessionId'] as const) {
    const held = workers.flatMap((worker) => worker[identity] ?? [])
    agree(`workers of one ${identity}`, new Set(held).size, held.length)
  }
  // Never two turns on one process, and no prompt twice.
  for (const { unanswered } of driver.living) agree('turns of one process', Math.max(unanswered, 1), 1)
  const prompts = driver.processes.flatMap((process) => process.prompts.map(({ message }) => message.content))
  agree('prompts sent once', new Set(prompts).size, prompts.length)
  agree('active sessions beyond all', Math.max(stats.activeSessions, KEYS.length), KEYS.length)
  agree('sessions by their events', counts.created - counts.deleted, real.handles.size)
  agree('unhandled rejections', real.unhandled.join(), '')
}

/** Takes note of the turns that have ended. */
function recordEnds(model: Model, real: Real): void {
  for (const sent of real.sent) {
    if (sent.outcome === undefined || sent.noted) continue
    sent.noted = true
    model.open -= 1
    if (!EXPECTED_OUTCOMES.includes(sent.outcome)) throw new Error(`a turn ended by ${sent.outcome}`)
    if (sent.outcome === 'capacity') agree('warmth of a refused turn', sent.turn.warmth, undefined)
    if (sent.outcome === 'result') model.results.set(sent.key, (model.results.get(sent.key) ?? 0) + 1)
  }
}

/** A command that acts, lets everything settle, and checks. */
function command(name: string, act: (model: Model, real: Real) => unknown): AsyncCommand<Model, Real> {
  return {
    check: () => true,
    async run(model, real) {
      await act(model, real)
      await real.test.clock.settle()
      recordEnds(model, real)
      check(model, real)
    },
    toString: () => name,
  }
}

const EXPECTED_OUTCOMES = [
  'result',
  'capacity',
  'session_busy',
  'session_deleted',
  'start_failed',
  'resume_failed',
  'turn_interrupted',
  'turn_timeout',
  'worker_exited',
  'worker_memory',
]

const key = fc.constantFrom(...KEYS)
const which = fc.nat(20)
const onBusy = fc.constantFrom<OnBusy>('reject', 'queue', 'interrupt')

const commands = [
  fc
    .tuple(key, onBusy)
    .map(([name, busy]) => command(`send(${name}, ${busy})`, (model, real) => real.send(model, name, busy))),
  fc
    .tuple(key, key, key)
    .map((names) =>
      command(`burst(${names.join()})`, (model, real) =>
        Promise.all(names.map((name) => real.send(model, name, 'queue'))),
      ),
    ),
  which.map((number) =>
    command(`abort(${number})`, (_model, real) => {
      const open = real.sent.filter(({ outcome }) => outcome === undefined)
      open[number % Math.max(open.length, 1)]?.abort.abort()
    }),
  ),
  which.map((number) =>
    command(`read and leave(${number})`, (_model, real) => {
      const open = real.sent.filter(({ outcome }) => outcome === undefined)
      void open[number % Math.max(open.length, 1)]?.turn.return?.()
    }),
  ),
  which.map((number) => command(`become ready(${number})`, (_model, real) => real.process(number)?.becomeReady())),
  fc.constant(
    command('all become ready', (_model, real) => {
      for (const process of real.test.driver.living) process.becomeReady()
    }),
  ),
  which.map((number) =>
    command(`finish(${number})`, (_model, real) => {
      const working = real.test.driver.living.filter(({ unanswered }) => unanswered > 0)
      working[number % Math.max(working.length, 1)]?.finish()
    }),
  ),
  which.map((number) =>
    command(`say(${number})`, (_model, real) => {
      const working = real.test.driver.living.filter(({ unanswered }) => unanswered > 0)
      working[number % Math.max(working.length, 1)]?.sayText('…')
    }),
  ),
  which.map((number) => command(`die(${number})`, (_model, real) => real.process(number)?.exit({ signal: 'SIGKILL' }))),
  which.map((number) => command(`close input(${number})`, (_model, real) => real.process(number)?.closeInput())),
  key.map((name) =>
    command(`warm(${name})`, async (_model, real) => {
      const handle = await real.session(name)
      handle.warm().catch(() => undefined)
    }),
  ),
  key.map((name) =>
    command(`hibernate(${name})`, async (_model, real) => {
      const handle = await real.session(name)
      handle.hibernate().catch(() => undefined)
    }),
  ),
  key.map((name) =>
    command(`delete(${name})`, async (model, real) => {
      const handle = await real.session(name)
      real.handles.delete(name)
      let deleted = false
      const deletion = handle.delete().finally(() => {
        deleted = true
      })
      while (!deleted) await real.test.clock.advance(1_000)
      await deletion
      model.results.delete(name)
    }),
  ),
  key.map((name) =>
    command(`look(${name})`, async (_model, real) => {
      const handle = await real.session(name)
      await handle.info()
    }),
  ),
  fc
    .constantFrom(100, 1_000, 5_000, 30_000, MINUTE, 3 * MINUTE)
    .map((ms) => command(`advance(${ms})`, (_model, real) => real.test.clock.advance(ms))),
  fc
    .constantFrom<'slowStarts' | 'failingStarts' | 'holding'>('slowStarts', 'holding', 'holding', 'failingStarts')
    .map((what) =>
      command(`toggle ${what}`, (_model, real) => {
        real[what] = !real[what]
      }),
    ),
  // What one process takes, and what is left for all: as tools and others on the machine do.
  fc.tuple(which, fc.constantFrom(20, 100, 300, 900)).map(([number, mib]) =>
    command(`use(${number}, ${mib} MiB)`, (_model, real) => {
      const process = real.process(number)
      if (process !== undefined) process.memoryBytes = mib * MIB
    }),
  ),
  fc.constantFrom(300, 1_000, 2_000, 65_536).map((mib) =>
    command(`limit(${mib} MiB)`, (_model, real) => {
      real.test.memory.limitBytes = mib * MIB
    }),
  ),
  fc.constant(
    command('suspend or resume', (model, real) => {
      if (model.suspended) real.test.pool.resume()
      else real.test.pool.suspend()
      model.suspended = !model.suspended
    }),
  ),
]

/** Lets everything come to an end, and counts what is left. */
async function windDown(model: Model, real: Real, quietMs: number): Promise<void> {
  const { pool, driver, clock } = real.test
  Object.assign(real, { slowStarts: false, failingStarts: false, holding: false })
  real.test.memory.limitBytes = 65_536 * MIB
  for (const process of driver.living) process.memoryBytes = 100 * MIB
  if (model.suspended) pool.resume()
  for (let round = 0; round < 20 && (round === 0 || model.open > 0); round += 1) {
    for (const process of driver.living) {
      process.answersAtOnce = true
      process.becomeReady()
      if (process.unanswered > 0) process.finish()
    }
    await clock.advance(1_000)
    recordEnds(model, real)
  }
  expect(model.open).toBe(0)
  // Every worker is idle or gone, no slot is lost, and every session goes on.
  await clock.advance(MINUTE)
  expect(pool.stats()).toMatchObject({
    turns: { running: 0, waiting: 0 },
    starts: { running: 0, waiting: 0 },
    workers: { starting: 0, busy: 0, closing: 0 },
  })
  // Nothing is charged for turns that are over.
  expect(pool.stats().memory).toMatchObject({ chargedBytes: 0, pressure: 'none' })
  for (const [name, handle] of real.handles) {
    const { turns } = await handle.info()
    // A turn that was aborted has a result of which its caller heard nothing.
    expect(turns).toBeGreaterThanOrEqual(model.results.get(name) ?? 0)
    expect(await handle.send(`last ${name}`).result).toMatchObject({ subtype: 'success' })
  }
  await clock.advance(quietMs)
  expect([pool.stats().workers.total, pool.stats().activeSessions, driver.living.length]).toEqual([0, 0, 0])
  await pool.close()
  expect(clock.pending).toBe(0)
}

/** With the time after which nobody is left. */
const POOLS: [name: string, quietMs: number, options: TestPoolOptions][] = [
  ['that sheds', 3 * MINUTE, { limits: { turns: 3, workers: 4, turnTimeout: '10m', inactivityTimeout: '5m' } }],
  [
    'in which turns wait, with spares and one start at a time',
    // Spares stay for as long as somebody may come.
    15 * MINUTE,
    {
      agents: { assistant: { spares: { max: 2 }, unboundSpares: { max: 0 }, onStaleResume: 'fresh' } },
      limits: { turns: 2, workers: 3, turnTimeout: '10m' },
      admission: { mode: 'wait', timeout: '10s', maxWaiting: 5 },
      starts: { concurrent: 1 },
    },
  ],
  [
    'in which workers leave early and memory is short',
    3 * MINUTE,
    {
      limits: { turns: 3, memory: '1500MiB', workerMemory: '800MiB' },
      residency: { maxTurnsPerWorker: 2, maxAge: '3m', idleTtl: '2m' },
    },
  ],
]

test.each(POOLS)(
  'a pool %s keeps its promises through random histories',
  { timeout: PATIENCE_MS },
  async (_name, quietMs, options) => {
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: 'max' }), async (history) => {
        await using testPool = await createTestPool({
          agents: { assistant: { spares: { max: 0 }, unboundSpares: { max: 0 }, onStaleResume: 'fresh' } },
          residency: { idleTtl: '2m' },
          ...options,
          starts: { timeout: '5s', ...options.starts },
        })
        const real = new Real(testPool)
        const model: Model = { open: 0, results: new Map(), suspended: false }
        const note = (reason: unknown): void => void real.unhandled.push(reason)
        process.on('unhandledRejection', note)
        try {
          await fc.asyncModelRun(() => ({ model, real }), history)
          await windDown(model, real, quietMs)
          expect(real.unhandled).toEqual([])
        } finally {
          process.off('unhandledRejection', note)
        }
      }),
      { seed: SEED, numRuns: 16, endOnFailure: false },
    )
  },
)
