import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { newTurn } from '../../../src/turns/send.ts'
import { FakeClock } from '../../../src/testing/index.ts'
import type { SendOptions } from '../../../src/turns/send.ts'

const base = { clock: new FakeClock(), limits: () => ({ turnTimeoutMs: 1_000, inactivityTimeoutMs: 1_000 }) }

describe('a call of send() that is not valid', () => {
  test.each([
    ['onBusy', { onBusy: 'wait' }],
    ['onLeave', { onLeave: 'stay' }],
    ['limits.inactivityTimeout', { limits: { inactivityTimeout: '0s' } }],
    ['limits.turnTimeoutMs', { limits: { turnTimeoutMs: -1 } }],
    ['limits.turnTim', { limits: { turnTim: '5m' } }],
    ['onBuzy', { onBuzy: 'queue' }],
    ['signal', { signal: true }],
    ['context', { context: 'The shop is closed.' }],
    ['send()', null],
  ])('fails its turn with the name of %s, and does not throw', async (path, options) => {
    const turn = newTurn('Hello', options as SendOptions, base)
    expect(turn.state).toBe('ended')
    await expect(turn.result).rejects.toMatchObject({ code: 'invalid_config', path })
    await expect(turn.next()).rejects.toBeInstanceOf(ConfigError)
  })

  test('says what was meant by an option that does not exist', async () => {
    await expect(newTurn('Hello', { onBuzy: 'queue' } as SendOptions, base).result).rejects.toThrow(
      'onBuzy: is not an option of send(); did you mean onBusy?',
    )
  })

  test('fails its turn when there is nothing to send', async () => {
    await expect(newTurn('  ', {}, base).result).rejects.toMatchObject({ path: 'input' })
  })
})

describe('a signal', () => {
  test('that is aborted already ends the turn before it begins', async () => {
    const turn = newTurn('Hello', { signal: AbortSignal.abort('gone') }, base)
    await expect(turn.result).rejects.toMatchObject({ code: 'turn_interrupted', cause: 'gone' })
  })
})
