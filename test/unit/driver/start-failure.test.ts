import { expect, test } from 'vitest'
import type { GatedExit } from '../../../src/driver/gated-process.ts'
import { exitSentence, startFailure } from '../../../src/driver/start-failure.ts'
import { ConfigError, ResumeError, StartError, StartRefusedError } from '../../../src/errors.ts'

const CRASHED: GatedExit = { cause: 'crash', exitCode: 1, signal: null, stderr: 'no disk\n' }
const NOTHING = { exit: undefined, refusal: undefined, resuming: false }

test('A conversation that is not there is a ResumeError', () => {
  const error = new Error('No conversation found with session ID: x')
  const failure = startFailure(error, { ...NOTHING, exit: CRASHED })
  expect(failure).toBeInstanceOf(ResumeError)
  expect(failure.message).toContain('there is no conversation to resume: No conversation found')
  expect(failure.cause).toBe(error)
})

test('A refusal with a reason is a StartRefusedError with advice, also for a conversation', () => {
  const refusal = { reason: 'bypass_root', message: 'not as root' }
  const failure = startFailure(new Error('exit'), { exit: CRASHED, refusal, resuming: true })
  expect(failure).toBeInstanceOf(StartRefusedError)
  expect(failure).toMatchObject({ reason: 'bypass_root', exit: CRASHED })
  expect(failure.message).toContain('claude refused to start (bypass_root): not as root; run the pool as another user')
  const other = startFailure(new Error('exit'), { ...NOTHING, refusal: { reason: 'other', message: 'why' } })
  expect(other.message).toContain('claude refused to start (other): why')
})

test('A refusal without one is a conversation that cannot be resumed, if there is one', () => {
  const refusal = { reason: undefined, message: 'broken' }
  const failure = startFailure(new Error('exit'), { exit: CRASHED, refusal, resuming: true })
  expect(failure).toBeInstanceOf(ResumeError)
  expect(failure.message).toContain('the conversation cannot be resumed: broken')
  expect(startFailure(new Error('exit'), { exit: CRASHED, refusal, resuming: false })).toBeInstanceOf(StartError)
})

test('A program that could not be started is told as that, by the process or by the SDK', () => {
  const spawnError = Object.assign(new Error('spawn claude EACCES'), { syscall: 'spawn' })
  const byProcess = startFailure(new Error('exit'), { ...NOTHING, exit: { ...CRASHED, spawnError } })
  const bySdk = startFailure(spawnError, NOTHING)
  for (const failure of [byProcess, bySdk]) {
    expect(failure).toMatchObject({ name: 'StartError', phase: 'spawn' })
    expect(failure.message).toContain('the agent process could not be started: spawn claude EACCES')
  }
})

test('Errors that say what is wrong stay as they are', () => {
  const config = new ConfigError('agents.a', 'is wrong')
  expect(startFailure(config, { ...NOTHING, exit: CRASHED })).toBe(config)
  const known = new StartError('initialize', 'it exited', CRASHED)
  expect(startFailure(known, { ...NOTHING, exit: CRASHED })).toBe(known)
  const withoutExit = new StartError('initialize', 'it took too long')
  expect(startFailure(withoutExit, NOTHING)).toBe(withoutExit)
})

test('All others get the exit of the process', () => {
  const late = startFailure(new StartError('initialize', 'it took too long'), { ...NOTHING, exit: CRASHED })
  expect(late).toMatchObject({ message: 'it took too long', exit: CRASHED, phase: 'initialize' })
  const unknown = startFailure(new Error('broken pipe'), { ...NOTHING, exit: CRASHED })
  expect(unknown).toMatchObject({ name: 'StartError', phase: 'initialize', exit: CRASHED })
  expect(unknown.message).toBe('the agent process did not start: broken pipe')
})

test.each([
  [CRASHED, 'the agent process exited with code 1; stderr: no disk'],
  [{ cause: 'signal', exitCode: null, signal: 'SIGTERM', stderr: '' }, 'the agent process was ended by SIGTERM'],
  [
    { cause: 'out_of_memory', exitCode: null, signal: 'SIGKILL', stderr: ' \n' },
    'the agent process was killed by the kernel for memory',
  ],
] as const)('An exit is told in a sentence: %j', (exit, sentence) => {
  expect(exitSentence(exit)).toBe(sentence)
})
