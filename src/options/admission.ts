import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { notOneOf } from './wording.ts'
import { count, duration, readSection, validate } from './section.ts'

/** What happens to a turn for which there is no room. */
export type AdmissionOptions =
  | { mode?: 'shed' }
  | {
      mode: 'wait'
      /** How long a turn may wait. Default `"2s"`. */
      timeout?: string
      timeoutMs?: number
      /** How many may wait. Default 100. */
      maxWaiting?: number
    }

/** `admission`, resolved. */
export type Admission = { mode: 'shed' } | { mode: 'wait'; timeoutMs: number; maxWaiting: number }

export function readAdmission(input: AdmissionOptions | undefined): Admission {
  const mode = input?.mode ?? 'shed'
  const waits = Object.keys(input ?? {}).find((key) => /^(timeout|timeoutMs|maxWaiting)$/.test(key))
  if (mode === 'shed' && waits !== undefined && typeof input === 'object')
    throw new ConfigError(`admission.${waits}`, 'holds with mode: wait alone; add that, or leave it out')
  if (mode === 'shed') {
    validate('admission', z.strictObject({ mode: z.literal('shed').optional() }), input ?? {})
    return { mode }
  }
  if (mode !== 'wait') throw new ConfigError('admission.mode', notOneOf(mode, ['shed', 'wait']))
  const { mode: _, ...rest } = input as Extract<AdmissionOptions, { mode: 'wait' }>
  const fields = { timeoutMs: duration('timeout', '2s'), maxWaiting: count('maxWaiting', 100) }
  return { mode, ...readSection<{ timeoutMs: number; maxWaiting: number }>('admission', fields, rest) }
}
