import { z } from 'zod'
import { ConfigError } from '../errors.ts'
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
  if (mode === 'shed') {
    validate('admission', z.strictObject({ mode: z.literal('shed').optional() }), input ?? {})
    return { mode }
  }
  if (mode !== 'wait') throw new ConfigError('admission.mode', `"${String(mode)}" is not one of: shed, wait`)
  const { mode: _, ...rest } = input as Extract<AdmissionOptions, { mode: 'wait' }>
  const fields = { timeoutMs: duration('timeout', '2s'), maxWaiting: count('maxWaiting', 100) }
  return { mode, ...readSection<{ timeoutMs: number; maxWaiting: number }>('admission', fields, rest) }
}
