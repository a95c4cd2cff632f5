import { StoreError, storeError } from '../../errors.ts'

/**
 * What became of a statement that failed. `refused`: the database answered, and nothing was changed. `not sent`: it never
 * reached the database. `unknown`: the connection broke, and the statement may have run.
 */
export type Outcome = 'refused' | 'not sent' | 'unknown'

/** Codes with which the database has undone a statement that may be repeated: conflicts, and a standby before its promotion. */
const UNDONE: ReadonlySet<string> = new Set(['40001', '40P01', '25006'])

/** Codes of a server that accepts no connection for the moment: it starts, stops, recovers, or has no slot left. */
const PASSING: ReadonlySet<string> = new Set([
  '57P01',
  '57P02',
  '57P03',
  '53300',
  '08000',
  '08001',
  '08003',
  '08004',
  '08006',
])

/** A statement that failed, and whether it may have run. */
export class StatementError extends Error {
  readonly outcome: Outcome
  /** True for a failure that may pass by itself. */
  readonly passes: boolean

  constructor(outcome: Outcome, passes: boolean, cause: unknown) {
    super((cause as Error).message, { cause })
    this.outcome = outcome
    this.passes = passes
  }

  /** The StoreError that a caller meets. */
  toStoreError(place: string): StoreError {
    const { cause } = this
    if (this.outcome !== 'unknown') return storeError(place, cause)
    return new StoreError(
      `${place}: the connection broke, and it is unknown whether the write was stored: ${this.message}`,
      {
        cause,
      },
    )
  }
}

const codeOf = (error: unknown): string => {
  const { code } = error as { code?: unknown }
  // Five characters: a code of PostgreSQL. Codes of the system are words, such as ECONNREFUSED.
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : ''
}

/** A connection could not be opened. */
export function connectFailure(error: unknown): StatementError {
  const code = codeOf(error)
  return new StatementError('not sent', code === '' || PASSING.has(code), error)
}

/** A statement failed on an open connection. */
export function queryFailure(error: unknown): StatementError {
  const code = codeOf(error)
  if (code === '' || PASSING.has(code)) return new StatementError('unknown', true, error)
  return new StatementError('refused', UNDONE.has(code), error)
}

/** True for a StoreError of a statement that the database refuses however often it is repeated. */
export function isRefusal({ cause }: Error): boolean {
  const code = codeOf(cause ?? {})
  return code !== '' && !PASSING.has(code) && !UNDONE.has(code)
}
