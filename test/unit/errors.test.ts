import { expect, test } from 'vitest'
import * as errors from '../../src/errors.ts'

const facts = { running: 1, limit: 2, waiting: 3 }
const exit = { cause: 'signal' as const, exitCode: null, signal: 'SIGKILL', stderr: 'the end' }

const samples: [string, errors.PoolError][] = [
  ['capacity', new errors.CapacityError('turns', 'full', 100, facts)],
  ['session_busy', new errors.SessionBusyError('busy')],
  ['session_conflict', new errors.SessionConflictError('conflict')],
  ['session_deleted', new errors.SessionGoneError('session_deleted', 'gone')],
  ['session_not_found', new errors.SessionGoneError('session_not_found', 'gone')],
  ['worker_exited', new errors.WorkerExitedError('exited', exit)],
  ['start_failed', new errors.StartError('spawn', 'no such file')],
  ['start_refused', new errors.StartRefusedError('bypass_root', 'not as root')],
  ['turn_timeout', new errors.TurnTimeoutError('inactivityTimeout', 10, 'silent')],
  ['turn_interrupted', new errors.TurnInterruptedError('aborted')],
  ['resume_failed', new errors.ResumeError('no transcript')],
  ['api_authentication', new errors.AuthenticationError('refused')],
  ['invalid_config', new errors.ConfigError('a.b', 'is wrong')],
  ['host_running', new errors.HostRunningError('taken', 7)],
  ['store_failed', new errors.StoreError('no disk')],
  ['disk_full', new errors.StoreError('no room', { code: 'disk_full' })],
  ['read_only', new errors.StoreError('no write', { code: 'read_only' })],
  ['corrupt', new errors.StoreError('no sense', { code: 'corrupt' })],
  ['schema_newer', new errors.StoreError('too new', { code: 'schema_newer' })],
  ['bad_archive', new errors.ArchiveError('line 2')],
  ['pool_closed', new errors.PoolClosedError()],
]

test.each(samples)('%s is a PoolError that is named like its class', (code, error) => {
  expect(error).toBeInstanceOf(errors.PoolError)
  expect(error).toBeInstanceOf(Error)
  expect(error.code).toBe(code)
  expect(error.name).toBe(error.constructor.name)
  expect(String(error)).toBe(`${error.name}: ${error.message}`)
})

test('errors carry the facts that a program needs', () => {
  expect(new errors.CapacityError('tenant', 'full', 250, facts)).toMatchObject({
    reason: 'tenant',
    retryAfterMs: 250,
    facts,
  })
  const { cause: exitCause, ...how } = exit
  expect(new errors.WorkerExitedError('exited', exit)).toMatchObject({ exitCause, ...how, oomKilled: false })
  expect(new errors.WorkerExitedError('exited', { ...exit, cause: 'out_of_memory' })).toMatchObject({ oomKilled: true })
  expect(new errors.StartError('initialize', 'died', exit)).toMatchObject({ phase: 'initialize', exit })
  expect(new errors.TurnTimeoutError('turnTimeout', 10, 'late')).toMatchObject({ limit: 'turnTimeout', limitMs: 10 })
  expect(new errors.HostRunningError('taken', 7)).toMatchObject({ pid: 7 })
  expect(new errors.ConfigError('a.b', 'is wrong')).toMatchObject({ path: 'a.b', message: 'a.b: is wrong' })
})

test('what caused an error is kept', () => {
  const cause = new Error('disk full')
  for (const error of [
    new errors.StoreError('x', { cause }),
    new errors.ResumeError('x', { cause }),
    new errors.TurnInterruptedError('x', { cause }),
    new errors.StartError('spawn', 'x', undefined, { cause }),
    new errors.WorkerExitedError('x', exit, { cause }),
  ]) {
    expect(error.cause).toBe(cause)
  }
})
