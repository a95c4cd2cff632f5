import { beforeEach, describe, expect, test } from 'vitest'
import type { ExitFacts, SDKMessage, SDKUserMessage } from '../../../src/driver/driver.ts'
import { AuthenticationError, TurnInterruptedError, TurnTimeoutError, WorkerExitedError } from '../../../src/errors.ts'
import { SteeringTurn } from '../../../src/turns/steering.ts'
import { RunningTurn } from '../../../src/turns/running-turn.ts'
import type { TurnWorker } from '../../../src/turns/turn-worker.ts'
import type { OnLeave } from '../../../src/turns/turn.ts'
import { FakeClock } from '../../../src/testing/clock.ts'
import { assistantMessage, resultMessage } from '../../../src/testing/messages.ts'
import type { CloseReason } from '../../../src/worker/worker.ts'
import type { TurnLimits } from '../../../src/options/limits.ts'

const MINUTE = 60_000

/** A worker under remote control. */
class FakeWorker implements TurnWorker {
  readonly id = 'w-1'
  readonly sent: SDKUserMessage[] = []
  readonly closed: string[] = []
  takesPrompts = true
  interrupts = 0
  consumptions = 0
  openPermissionRequests = 0
  lastAnswerAt = 0
  readonly process: TurnWorker['process'] & { lastOutputAt: number; heldBack: boolean } = {
    lastOutputAt: 0,
    heldBack: false,
    interrupt: async () => {
      this.interrupts += 1
    },
    consumed: () => {
      this.consumptions += 1
    },
  }

  async send(message: SDKUserMessage): Promise<boolean> {
    if (!this.takesPrompts) return false
    this.sent.push(message)
    return true
  }

  async close(reason: string): Promise<void> {
    this.closed.push(reason)
  }
}

const prompt = (content: string): SDKUserMessage => ({
  type: 'user',
  message: { role: 'user', content },
  parent_tool_use_id: null,
})

const said = (text: string): SDKMessage => assistantMessage('s', text)

const answering = (...uuids: (string | undefined)[]): SDKMessage =>
  resultMessage(
    's',
    { text: 'done' },
    uuids.flatMap((uuid) => uuid ?? []),
  )

const refusal = (type: 'assistant' | 'retry', words = 'Please run /login'): SDKMessage =>
  (type === 'assistant'
    ? { ...said(words), error: 'authentication_failed' }
    : { type: 'system', subtype: 'api_retry', error: 'authentication_failed', attempt: 1 }) as unknown as SDKMessage

let clock: FakeClock
let worker: FakeWorker

beforeEach(() => {
  clock = new FakeClock()
  worker = new FakeWorker()
})

const turnOf = (limits: Partial<TurnLimits> = {}, onLeave: OnLeave = 'interrupt'): RunningTurn =>
  new RunningTurn(prompt('Hello'), {
    clock,
    onLeave,
    limits: { turnTimeoutMs: 30 * MINUTE, inactivityTimeoutMs: 10 * MINUTE, ...limits },
  })

const running = async (limits: Partial<TurnLimits> = {}, onLeave?: OnLeave): Promise<RunningTurn> => {
  const turn = turnOf(limits, onLeave)
  await turn.run(worker, 'cold')
  return turn
}

/** The process shows a sign of life, and says something. */
const hear = (turn: RunningTurn, message: SDKMessage): boolean => {
  worker.process.lastOutputAt = clock.now()
  return turn.accept(message)
}

describe('a turn', () => {
  test('hands over its prompt, delivers what the process says and ends with the result', async () => {
    const turn = await running()
    const messages: string[] = []
    const reading = (async () => {
      for await (const message of turn) messages.push(message.type)
    })()
    expect(hear(turn, said('Hi'))).toBe(false)
    expect(hear(turn, answering(worker.sent[0]?.uuid))).toBe(true)
    await reading
    expect(worker.sent).toMatchObject([prompt('Hello')])
    expect(messages).toEqual(['assistant', 'result'])
    expect(await turn.result).toMatchObject({ subtype: 'success', result: 'done' })
    expect([turn.state, turn.warmth, turn.workerId, turn.failure]).toEqual(['ended', 'cold', 'w-1', undefined])
  })

  test('leaves no timer behind, however it ends', async () => {
    const finished = await running()
    expect(clock.pending).toBe(2)
    hear(finished, answering())
    expect(clock.pending).toBe(0)
    const failed = await running()
    void failed.interrupt()
    await clock.settle()
    failed.fail(new Error('deleted'))
    expect(clock.pending).toBe(0)
  })

  test('without limits sets no timer', async () => {
    await running({ turnTimeoutMs: Infinity, inactivityTimeoutMs: Infinity })
    expect(clock.pending).toBe(0)
  })

  test('ends once: the first ending counts', async () => {
    const turn = await running()
    turn.fail(new Error('first'))
    turn.fail(new Error('second'))
    turn.workerEnded({ cause: 'crash', exitCode: 1, signal: null, stderr: '' }, 'exited')
    hear(turn, answering())
    await expect(turn.result).rejects.toThrow('first')
  })

  test('whose process went before it had the prompt says that nothing was sent', async () => {
    const turn = turnOf()
    turn.workerEnded({ cause: 'crash', exitCode: 1, signal: null, stderr: '' }, 'exited')
    await expect(turn.result).rejects.toThrow('with exit code 1 before it was handed the prompt; nothing was sent')
  })

  test('whose process takes no prompt any more lets it go, and says that nothing was sent', async () => {
    worker.takesPrompts = false
    const turn = await running()
    expect(worker.closed).toEqual(['exited'])
    turn.workerEnded({ cause: 'normal', exitCode: 0, signal: null, stderr: '' }, 'exited')
    await expect(turn.result).rejects.toThrow('nothing was sent')
    await expect(turn.result).rejects.not.toThrow('may have run')
  })

  const died = { exitCode: null, signal: 'SIGKILL', stderr: '' }
  const endings: [string, ExitFacts, CloseReason][] = [
    ['with exit code 0', { ...died, cause: 'normal', exitCode: 0, signal: null }, 'exited'],
    ['with exit code 3', { ...died, cause: 'crash', exitCode: 3, signal: null }, 'exited'],
    ['by SIGSEGV', { ...died, cause: 'signal', signal: 'SIGSEGV' }, 'exited'],
    ['because the kernel killed it for memory', { ...died, cause: 'out_of_memory' }, 'exited'],
    ['because the pool ended it (unresponsive)', { ...died, cause: 'ended' }, 'unresponsive'],
    ['because the pool ended it (it sang)', { ...died, cause: 'ended', violation: 'it sang' }, 'output'],
  ]

  test.each(endings)('whose process ends says that it did so %s', async (how, exit, reason) => {
    const turn = await running()
    turn.workerEnded({ ...exit, stderr: 'fault\n' }, reason)
    await expect(turn.result).rejects.toThrow(WorkerExitedError)
    await expect(turn.result).rejects.toMatchObject({ exitCause: exit.cause })
    await expect(turn.result).rejects.toThrow(`the agent process ended ${how} during the turn; the prompt may have run`)
    await expect(turn.result).rejects.toThrow(/; stderr: fault$/)
    await expect(turn.next()).rejects.toThrow(WorkerExitedError)
  })

  test('that failed before it had a worker runs on none', async () => {
    const turn = turnOf()
    turn.fail(new Error('refused'))
    await turn.run(worker, 'cold')
    expect(worker.sent).toEqual([])
  })

  test('does not show what the CLI tells of its queue', async () => {
    const turn = await running()
    hear(turn, { type: 'command_lifecycle', state: 'started', command_uuid: 'x' } as unknown as SDKMessage)
    hear(turn, answering())
    expect((await turn.next()).value?.type).toBe('result')
  })

  test('keeps the id of a prompt that has one', async () => {
    const uuid = crypto.randomUUID()
    const turn = new RunningTurn(
      { ...prompt('Hello'), uuid },
      { clock, onLeave: 'detach', limits: { turnTimeoutMs: 1, inactivityTimeoutMs: 1 } },
    )
    expect(turn.message.uuid).toBe(uuid)
  })
})

describe('the result of a turn', () => {
  test('is the one that answers its prompt', async () => {
    const turn = await running()
    expect(hear(turn, answering(crypto.randomUUID()))).toBe(false)
    expect(hear(turn, answering(turn.message.uuid))).toBe(true)
  })

  test('is not that of a background task that ended meanwhile', async () => {
    const turn = await running()
    const notification = { ...answering(), origin: { kind: 'task-notification' } } as unknown as SDKMessage
    expect(hear(turn, notification)).toBe(false)
    expect(hear(turn, answering(turn.message.uuid))).toBe(true)
  })

  test('may come without an id from a CLI that tells none', async () => {
    const turn = await running()
    expect(hear(turn, answering())).toBe(true)
  })

  test('may name one prompt instead of a list', async () => {
    const turn = await running()
    const { user_message_uuids: _, ...single } = answering(turn.message.uuid) as SDKMessage & {
      user_message_uuids: string[]
    }
    expect(hear(turn, single as SDKMessage)).toBe(true)
  })

  test('that reports an error is a message, as in the SDK', async () => {
    const turn = await running()
    hear(turn, resultMessage('s', { subtype: 'error_max_turns' }, []))
    expect(await turn.result).toMatchObject({ subtype: 'error_max_turns', is_error: true })
  })
})

describe('back-pressure', () => {
  test('of nobody who reads does not exist: what is unread is bounded and dropped', async () => {
    const turn = await running()
    for (let count = 0; count < 4; count += 1) hear(turn, said('x'.repeat(400 * 1024)))
    expect(worker.consumptions).toBe(4)
    expect(turn.droppedMessages).toBe(2)
    hear(turn, answering())
    expect(await turn.result).toMatchObject({ subtype: 'success' })
  })

  test('of a reader holds the process back until everything was read', async () => {
    const turn = await running()
    const first = turn.next()
    hear(turn, said('a'))
    await first
    expect(worker.consumptions).toBe(1)
    hear(turn, said('b'))
    hear(turn, said('c'))
    await turn.next()
    expect(worker.consumptions).toBe(1)
    await turn.next()
    expect(worker.consumptions).toBe(2)
  })

  test('of several readers is that of the slowest', async () => {
    const turn = await running()
    const follower = turn.join()
    const both = [turn.next(), follower.next()]
    hear(turn, said('a'))
    await Promise.all(both)
    hear(turn, said('b'))
    await turn.next()
    expect(worker.consumptions).toBe(1)
    await follower.next()
    expect(worker.consumptions).toBe(2)
  })

  test('ends with a reader that leaves', async () => {
    const turn = await running({}, 'detach')
    const first = turn.next()
    hear(turn, said('a'))
    await first
    hear(turn, said('b'))
    expect(worker.consumptions).toBe(1)
    await turn.return()
    expect(worker.consumptions).toBe(2)
  })
})

describe('a reader that leaves', () => {
  test('interrupts the turn, and is gone when the turn is', async () => {
    const turn = await running()
    const reading = (async () => {
      for await (const message of turn) if (message.type === 'assistant') break
    })()
    hear(turn, said('a'))
    await clock.settle()
    expect(worker.interrupts).toBe(1)
    hear(turn, resultMessage('s', { subtype: 'error_during_execution' }, []))
    await reading
    expect(await turn.result).toMatchObject({ subtype: 'error_during_execution' })
  })

  test('lets the turn run on where that was asked for', async () => {
    const turn = await running({}, 'detach')
    const reading = (async () => {
      for await (const message of turn) if (message.type === 'assistant') break
    })()
    hear(turn, said('a'))
    await reading
    expect(worker.interrupts).toBe(0)
    hear(turn, answering())
    expect(await turn.result).toMatchObject({ subtype: 'success' })
  })

  test('of several does not end the turn of the others', async () => {
    const turn = await running()
    const follower = turn.join()
    hear(turn, said('a'))
    void turn.leave(follower)
    await clock.settle()
    expect(worker.interrupts).toBe(0)
    void turn.return()
    await clock.settle()
    expect(worker.interrupts).toBe(1)
  })

  test('after the end changes nothing', async () => {
    const turn = await running()
    hear(turn, answering())
    await turn.return()
    expect(worker.interrupts).toBe(0)
  })
})

describe('an interrupt', () => {
  test('never overtakes its prompt', async () => {
    const turn = await running()
    void turn.interrupt()
    await clock.advance(999)
    expect(worker.interrupts).toBe(0)
    hear(turn, said('Hi'))
    await clock.settle()
    expect(worker.interrupts).toBe(1)
  })

  test('is not set off by what the process still tells of itself', async () => {
    const turn = await running()
    void turn.interrupt()
    hear(turn, { type: 'system', subtype: 'status' } as unknown as SDKMessage)
    hear(turn, { type: 'command_lifecycle', state: 'queued', command_uuid: turn.message.uuid } as unknown as SDKMessage)
    hear(turn, { type: 'command_lifecycle', state: 'started', command_uuid: 'another' } as unknown as SDKMessage)
    await clock.settle()
    expect(worker.interrupts).toBe(0)
    hear(turn, {
      type: 'command_lifecycle',
      state: 'started',
      command_uuid: turn.message.uuid,
    } as unknown as SDKMessage)
    await clock.settle()
    expect(worker.interrupts).toBe(1)
  })

  test('goes out after a second all the same', async () => {
    const turn = await running()
    void turn.interrupt()
    await clock.advance(1_000)
    expect(worker.interrupts).toBe(1)
  })

  test('asked for twice goes out once', async () => {
    const turn = await running()
    hear(turn, said('Hi'))
    await Promise.all([turn.interrupt(), turn.interrupt()])
    expect(worker.interrupts).toBe(1)
  })

  test('that has no effect ends the process after five seconds', async () => {
    const turn = await running()
    hear(turn, said('Hi'))
    await turn.interrupt()
    await clock.advance(4_999)
    expect(worker.closed).toEqual([])
    await clock.advance(1)
    expect(worker.closed).toEqual(['unresponsive'])
  })

  test('waits for a reader that has stopped reading: the end may be among what it has not read', async () => {
    const turn = await running()
    hear(turn, said('Hi'))
    worker.process.heldBack = true
    await turn.interrupt()
    await clock.advance(6_000)
    expect(worker.closed).toEqual([])
  })

  test('before the turn has a worker ends it at once', async () => {
    const turn = turnOf()
    let cancelled = 0
    turn.waitIn(() => {
      cancelled += 1
    })
    await turn.interrupt()
    await expect(turn.result).rejects.toThrow('the turn was interrupted before it had a worker; nothing was sent')
    expect(cancelled).toBe(1)
  })

  test('of a turn that has ended is nothing', async () => {
    const turn = await running()
    hear(turn, answering())
    await turn.interrupt()
    expect([worker.interrupts, clock.pending]).toEqual([0, 0])
  })

  test('that the process cannot take harms nobody', async () => {
    const turn = await running()
    worker.process.interrupt = () => Promise.reject(new Error('closed'))
    hear(turn, said('Hi'))
    await turn.interrupt()
    hear(turn, answering())
    await turn.result
  })
})

describe('an abort', () => {
  const reason = new TurnInterruptedError('aborted by its caller')

  test('of a turn that waits ends it at once', async () => {
    const turn = turnOf()
    turn.abort(reason)
    await expect(turn.result).rejects.toBe(reason)
    await expect(turn.next()).rejects.toBe(reason)
  })

  test('of a turn that runs interrupts it, and it ends with the error and not with the result', async () => {
    const turn = await running()
    hear(turn, said('Hi'))
    turn.abort(reason)
    await clock.settle()
    expect([worker.interrupts, turn.state]).toEqual([1, 'running'])
    expect(hear(turn, answering(turn.message.uuid))).toBe(true)
    await expect(turn.result).rejects.toBe(reason)
  })

  test('is not held up by a reader that has stopped reading', async () => {
    const turn = await running()
    const first = turn.next()
    hear(turn, said('a'))
    await first
    hear(turn, said('b'))
    expect(worker.consumptions).toBe(1)
    turn.abort(reason)
    expect(worker.consumptions).toBe(2)
    hear(turn, said('c'))
    expect(worker.consumptions).toBe(3)
  })
})

describe('limits', () => {
  test('of the whole turn end it: interrupt, then the process', async () => {
    const turn = await running({ turnTimeoutMs: MINUTE })
    hear(turn, said('Hi'))
    await clock.advance(MINUTE)
    expect(worker.interrupts).toBe(1)
    await clock.advance(5_000)
    expect(worker.closed[0]).toBe('limit')
    turn.workerEnded({ cause: 'ended', exitCode: 0, signal: null, stderr: '' }, 'limit')
    await expect(turn.result).rejects.toThrow(TurnTimeoutError)
    await expect(turn.result).rejects.toThrow('the turn was ended because it ran for 1m (limits.turnTimeout)')
    await expect(turn.result).rejects.toMatchObject({ limit: 'turnTimeout', limitMs: MINUTE })
  })

  test('of silence count from the last sign of life, message or not', async () => {
    const turn = await running({ inactivityTimeoutMs: MINUTE })
    await clock.advance(50_000)
    worker.process.lastOutputAt = clock.now()
    await clock.advance(59_999)
    expect(turn.failure).toBeUndefined()
    await clock.advance(1)
    expect(turn.failure).toMatchObject({ limit: 'inactivityTimeout', limitMs: MINUTE })
    expect(turn.failure?.message).toContain('its process gave no sign of life for 1m (limits.inactivityTimeout)')
  })

  test('of silence do not count what was before the turn', async () => {
    worker.process.lastOutputAt = 0
    await clock.advance(5 * MINUTE)
    const turn = await running({ inactivityTimeoutMs: MINUTE })
    await clock.advance(59_999)
    expect(turn.failure).toBeUndefined()
  })

  test('of silence do not count while a reader holds the process back', async () => {
    const turn = await running({ inactivityTimeoutMs: MINUTE })
    worker.process.heldBack = true
    await clock.advance(10 * MINUTE)
    expect(turn.failure).toBeUndefined()
    worker.process.heldBack = false
    await clock.advance(2 * MINUTE)
    expect(turn.failure).toMatchObject({ limit: 'inactivityTimeout' })
  })

  test('of silence begin anew when a reader that held the process back reads on', async () => {
    const turn = await running({ inactivityTimeoutMs: MINUTE })
    const first = turn.next()
    hear(turn, said('a'))
    await first
    hear(turn, said('b'))
    worker.process.heldBack = true
    await clock.advance(55_000)
    await turn.next()
    worker.process.heldBack = false
    await clock.advance(59_999)
    expect(turn.failure).toBeUndefined()
    await clock.advance(1)
    expect(turn.failure).toMatchObject({ limit: 'inactivityTimeout' })
  })

  test('of silence do not count while somebody is asked for permission, and begin anew with the answer', async () => {
    const turn = await running({ inactivityTimeoutMs: MINUTE })
    worker.openPermissionRequests = 1
    await clock.advance(10 * MINUTE + 55_000)
    worker.openPermissionRequests = 0
    worker.lastAnswerAt = clock.now()
    await clock.advance(59_999)
    expect(turn.failure).toBeUndefined()
    await clock.advance(1)
    expect(turn.failure).toMatchObject({ limit: 'inactivityTimeout' })
  })

  test('do not wait for a reader that has stopped reading', async () => {
    const turn = await running({ turnTimeoutMs: MINUTE })
    const first = turn.next()
    hear(turn, said('a'))
    await first
    hear(turn, said('b'))
    worker.process.heldBack = true
    const before = worker.consumptions
    await clock.advance(MINUTE + 5_000)
    expect(worker.consumptions).toBeGreaterThan(before)
    expect(worker.closed[0]).toBe('limit')
  })
})

describe('a refused credential', () => {
  test('ends the turn at the second retry, and not after minutes', async () => {
    const turn = await running()
    hear(turn, refusal('retry'))
    expect(turn.failure).toBeUndefined()
    hear(turn, refusal('retry'))
    expect(turn.failure).toBeInstanceOf(AuthenticationError)
    await clock.advance(1_000)
    expect(worker.interrupts).toBe(1)
  })

  test('that the process has given up on ends the turn with an error instead of its text', async () => {
    const turn = await running()
    hear(turn, refusal('assistant'))
    hear(turn, answering(turn.message.uuid))
    await expect(turn.result).rejects.toThrow('the model API refuses the credential of this pool')
    await expect(turn.next()).rejects.toBeInstanceOf(AuthenticationError)
  })

  test('that is missing says how to set one, and nothing that the process says of it is told', async () => {
    const turn = await running()
    hear(turn, refusal('assistant', 'Not logged in · Please run /login'))
    hear(turn, answering(turn.message.uuid))
    await expect(turn.result).rejects.toThrow(
      'there is no credential for the model; set ANTHROPIC_API_KEY or api.key, or try the simulated model',
    )
    await expect(turn.next()).rejects.toBeInstanceOf(AuthenticationError)
  })
})

describe('steering', () => {
  test('adds a prompt, and the turn ends when both have results', async () => {
    const turn = await running()
    const steering = new SteeringTurn(turn, prompt('And faster'))
    await clock.settle()
    expect(worker.sent.map(({ message }) => message.content)).toEqual(['Hello', 'And faster'])
    expect(hear(turn, answering(worker.sent[0]?.uuid))).toBe(false)
    expect(hear(turn, answering(worker.sent[1]?.uuid))).toBe(true)
    expect(await steering.result).toBe(await turn.result)
    expect(steering.warmth).toBe('cold')
  })

  test('ends with one result that answers both prompts', async () => {
    const turn = await running()
    const steering = new SteeringTurn(turn, prompt('And faster'))
    await clock.settle()
    expect(hear(turn, answering(...worker.sent.map(({ uuid }) => uuid)))).toBe(true)
    await steering.result
  })

  test('shows the messages from then on', async () => {
    const turn = await running()
    hear(turn, said('before'))
    const steering = new SteeringTurn(turn, prompt('And faster'))
    await clock.settle()
    hear(turn, said('after'))
    hear(turn, answering(...worker.sent.map(({ uuid }) => uuid)))
    const messages: SDKMessage[] = []
    for await (const message of steering) messages.push(message)
    expect(JSON.stringify(messages)).not.toContain('before')
    expect(messages.map(({ type }) => type)).toEqual(['assistant', 'result'])
  })

  test('of a turn that waits is sent after its prompt', async () => {
    const turn = turnOf()
    void new SteeringTurn(turn, prompt('And faster'))
    await clock.settle()
    expect(worker.sent).toEqual([])
    await turn.run(worker, 'cold')
    await clock.settle()
    expect(worker.sent.map(({ message }) => message.content)).toEqual(['Hello', 'And faster'])
  })

  test('of a turn that has ended is refused, and nothing is sent', async () => {
    const turn = await running()
    hear(turn, answering())
    const steering = new SteeringTurn(turn, prompt('Too late'))
    await expect(steering.result).rejects.toThrow('the turn ended before it could be steered; nothing was sent')
    await expect(steering.next()).rejects.toThrow(TurnInterruptedError)
    expect(worker.sent).toHaveLength(1)
  })

  test('interrupts what it steers', async () => {
    const turn = await running()
    const steering = new SteeringTurn(turn, prompt('And faster'))
    hear(turn, said('Hi'))
    await steering.interrupt()
    expect(worker.interrupts).toBe(1)
  })
})
