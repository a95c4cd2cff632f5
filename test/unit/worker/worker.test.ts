import { beforeEach, describe, expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { readResidency } from '../../../src/options/residency.ts'
import { FakeClock, FakeDriver } from '../../../src/testing/index.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { Worker } from '../../../src/worker/worker.ts'
import type { TurnSink, WorkerFacts, WorkerOwner } from '../../../src/worker/worker.ts'
import type { PermissionAnswer, PermissionQuestion } from '../../../src/agents/question.ts'

const prompt = { type: 'user', message: { role: 'user', content: 'Hello' }, parent_tool_use_id: null } as const

/** A turn that ends with its result. */
class Sink implements TurnSink {
  readonly messages: SDKMessage[] = []
  readonly exits: unknown[] = []
  readonly questions: string[] = []

  accept(message: SDKMessage): boolean {
    this.messages.push(message)
    return message.type === 'result'
  }

  permissionAsked({ toolUseId }: PermissionQuestion): void {
    this.questions.push(`asked ${toolUseId}`)
  }

  permissionAnswered({ toolUseId }: PermissionQuestion, { result }: PermissionAnswer): void {
    this.questions.push(`${result} ${toolUseId}`)
  }

  workerEnded(exit: unknown): void {
    this.exits.push(exit)
  }
}

/** The session that the worker serves. */
const owner: WorkerOwner = {
  ownership: undefined,
  ref: { tenant: 'default', key: 'k', agent: 'a' },
  unpromptedOf: () => unprompted,
  said: (_worker, { type }) => void log.push(`said ${type}`),
  reset: (id) => void log.push(`reset to ${id}`),
  idle: () => undefined,
  closed: () => undefined,
}

let clock: FakeClock
let driver: FakeDriver
let process: FakeProcess
let worker: Worker
let log: string[]
let unprompted: Sink

const make = (facts: Partial<WorkerFacts> = {}, onStart?: (process: FakeProcess) => void): void => {
  clock = new FakeClock()
  driver = new FakeDriver(clock)
  driver.onStart = onStart
  log = []
  unprompted = new Sink()
  process = driver.start({
    workerId: 'w-1',
    options: {},
    cwd: '/',
    tmpDir: '/tmp',
    env: {},
    conversation: { kind: 'new', sessionId: 's-1' },
    initializeTimeoutMs: 60_000,
  })
  worker = new Worker(
    {
      id: 'w-1',
      agent: 'a',
      tenant: 'default',
      fingerprint: 'f',
      purpose: 'turn',
      owner,
      cwd: { path: '/', isOwn: false },
      conversation: { kind: 'new', sessionId: 's-1' },
      ...facts,
    },
    process,
    {
      clock,
      graces: { eofMs: 2_000, sigtermMs: 5_000 },
      rules: { residency: readResidency({}), memoryLimitBytes: Infinity },
      shareOfMaxAge: 1,
      listeners: {
        changed: ({ state }, from) => void log.push(`${from} → ${state}`),
        initialized: () => void log.push('initialized'),
        failed: (_worker, what, error) => void log.push(`${what}: ${(error as Error).message}`),
        closed: (_worker, { reason }) => void log.push(`left: ${reason}`),
      },
    },
  )
}

beforeEach(() => make())

describe('a worker', () => {
  test('leaves when its message cannot be dealt with, and what went wrong is told', async () => {
    await worker.open()
    const broken = new Sink()
    broken.accept = () => {
      throw new Error('no room')
    }
    worker.begin(broken)
    await worker.send(prompt)
    await clock.settle()
    expect(log).toContain('a message "assistant" could not be dealt with: no room')
    expect(worker.closeReason).toBe('exited')
  })

  test('is idle when its process is ready, and counts a turn when it ends', async () => {
    const opening = worker.open()
    expect(worker.state).toBe('starting')
    await opening
    const sink = new Sink()
    await clock.advance(1_000)
    worker.begin(sink)
    await worker.send(prompt)
    await clock.settle()
    expect([worker.state, worker.turns, worker.lastUsedAt]).toEqual(['idle', 1, 1_000])
    expect(sink.messages.map(({ type }) => type)).toEqual(['assistant', 'result'])
    expect(log).toEqual(['starting → idle', 'idle → busy', 'said assistant', 'said result', 'busy → idle'])
  })

  test('gives what it says to its turn from when that attends, and else to who listens between turns', async () => {
    await worker.open()
    const question = { asks: 'permission', toolUseId: 't-1', name: 'Bash', input: {}, subagent: false } as const
    const sink = new Sink()
    process.sayText('of its own accord')
    await clock.settle()
    worker.claim(sink)
    process.sayText('still')
    process.finish()
    worker.permissionAsked(question)
    await clock.settle()
    expect([worker.state, sink.messages, sink.questions]).toEqual(['busy', [], []])
    expect(unprompted.messages.map(({ type }) => type)).toEqual(['assistant', 'assistant', 'result'])
    worker.attend()
    worker.permissionAnswered(question, { result: 'allow' })
    process.sayText('to the turn')
    await clock.settle()
    expect([sink.messages.length, sink.questions, unprompted.questions]).toEqual([1, ['allow t-1'], ['asked t-1']])
    worker.release()
    process.sayText('again of its own accord')
    await clock.settle()
    expect([sink.messages.length, unprompted.messages.length]).toEqual([1, 4])
    await worker.close('idle')
    expect([sink.exits.length, unprompted.exits.length]).toEqual([0, 1])
  })

  test('is pinned while it speaks of its own accord, and was used then', async () => {
    await worker.open()
    await clock.advance(1_000)
    worker.recordUnprompted(true)
    expect(worker.pin).toMatchObject({ unprompted: true, sinceMs: 1_000 })
    await clock.advance(1_000)
    worker.recordUnprompted(false)
    expect([worker.pin, worker.lastUsedAt]).toEqual([undefined, 2_000])
  })

  test('that was begun with and not used counts no turn', async () => {
    await worker.open()
    worker.begin(new Sink())
    worker.release()
    worker.release()
    worker.finish()
    expect([worker.state, worker.turns]).toEqual(['idle', 0])
  })

  test('cannot be begun with twice', async () => {
    await worker.open()
    worker.begin(new Sink())
    expect(() => worker.begin(new Sink())).toThrow('worker w-1: "begin" is not possible while busy')
  })

  test('that fails to start leaves, and says what its process said', async () => {
    make({}, (starting) => starting.failToStart())
    await expect(worker.open()).rejects.toMatchObject({ code: 'start_failed' })
    expect([worker.state, worker.closeReason]).toEqual(['closed', 'start_failed'])
    expect(log).toEqual(['starting → closing', 'closing → closed', 'left: start_failed'])
  })

  test('that is told to go while it starts goes, for that reason', async () => {
    make({}, (starting) => {
      starting.readyAtOnce = false
    })
    const opening = worker.open().catch((error: unknown) => error)
    await worker.close('closed')
    expect(await opening).toBeInstanceOf(Error)
    expect(log.at(-1)).toBe('left: closed')
  })

  test('leaves once, for the first reason, and tells it when its process is gone', async () => {
    await worker.open()
    process.leavesAtOnce = false
    const leaving = [worker.close('idle'), worker.close('closed')]
    await clock.settle()
    expect([worker.state, log.at(-1)]).toEqual(['closing', 'idle → closing'])
    expect(process.graces).toEqual({ eofMs: 2_000, sigtermMs: 5_000 })
    process.exit()
    await Promise.all(leaving)
    expect(log.slice(-2)).toEqual(['closing → closed', 'left: idle'])
  })

  test('that dies during a turn delivers all it said, and then tells the turn', async () => {
    process.answersAtOnce = false
    await worker.open()
    const sink = new Sink()
    worker.begin(sink)
    await worker.send(prompt)
    process.sayText('Well')
    process.exit({ signal: 'SIGKILL' })
    await clock.settle()
    expect(sink.messages).toHaveLength(1)
    expect(sink.exits).toEqual([{ cause: 'signal', exitCode: null, signal: 'SIGKILL', stderr: '' }])
    expect(log.at(-1)).toBe('left: exited')
  })

  test('that is to retire leaves at once when idle, and after its turn when busy', async () => {
    await worker.open()
    worker.begin(new Sink())
    worker.retire('age')
    worker.retire('idle')
    expect([worker.state, worker.retiring]).toEqual(['busy', 'age'])
    await worker.send(prompt)
    await clock.settle()
    expect(log.at(-1)).toBe('left: age')
  })

  test('that is to retire while it starts leaves after the turn that it was started for', async () => {
    const opening = worker.open()
    worker.retire('age')
    await opening
    worker.begin(new Sink())
    await worker.send(prompt)
    await clock.settle()
    expect([worker.turns, log.at(-1)]).toEqual([1, 'left: age'])
  })

  test('discards what nobody listens to any more, and tells the process so', async () => {
    process.answersAtOnce = false
    await worker.open()
    const sink = new Sink()
    worker.begin(sink)
    await worker.send(prompt)
    worker.mute()
    process.sayText('Anybody there?')
    await clock.settle()
    expect(sink.messages).toEqual([])
    expect(process.consumptions).toBeGreaterThan(0)
  })
})

describe('a pin', () => {
  const tasks = (...ids: string[]): SDKMessage =>
    ({
      type: 'system',
      subtype: 'background_tasks_changed',
      tasks: ids.map((task_id) => ({ task_id, task_type: 'shell', description: '' })),
    }) as unknown as SDKMessage

  test('counts background tasks and open questions, from the first of them on', async () => {
    await worker.open()
    expect(worker.pin).toBeUndefined()
    await clock.advance(1_000)
    worker.recordPermissionRequest(1)
    await clock.advance(1_000)
    process.say(tasks('t-1', 't-2'))
    await clock.settle()
    expect(worker.pin).toMatchObject({ tasks: 2, permissionRequests: 1, transcript: false, sinceMs: 1_000 })
    worker.recordPermissionRequest(-1)
    expect([worker.pin?.sinceMs, worker.lastAnswerAt]).toEqual([1_000, 2_000])
    process.say(tasks())
    await clock.settle()
    expect(worker.pin).toBeUndefined()
  })
})
