import type { Context } from 'hono'
import type { ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import { readTime } from './pages.ts'

/** Every request may have it: it names the version of the API. */
const BETA = 'beta'

/** The name of a parameter that may be repeated ends with this; clients may leave it out. */
const LIST = '[]'

/**
 * Refuses what a route does not read. `known`: the names of its parameters. Throws ApiError that names the first stranger,
 * and for a parameter that is there twice and is no list.
 */
export function checkQuery(query: Readonly<Record<string, readonly string[]>>, known: readonly string[]): void {
  for (const [name, values] of Object.entries(query)) {
    const isList = known.includes(name + LIST) || (name.endsWith(LIST) && known.includes(name))
    if (name !== BETA && !isList && !known.includes(name)) throw unknownParameter(name, known)
    if (values.length > 1 && !isList)
      throw new ApiError('invalid_request_error', `${name}: is there twice; give it once`)
  }
}

function unknownParameter(name: string, known: readonly string[]): ApiError {
  const takes = known.length === 0 ? 'no query parameters' : known.join(', ')
  return new ApiError(
    'invalid_request_error',
    `${name}: is not supported by this server; leave it out; this request takes ${takes}`,
  )
}

/** A parameter that may be repeated, written as `name` or `name[]`. Throws ApiError for a value that is not `known`. */
export function readList(
  query: Readonly<Record<string, readonly string[]>>,
  name: string,
  known: readonly string[],
): string[] | undefined {
  const values = [...(query[name + LIST] ?? []), ...(query[name] ?? [])]
  const unknown = values.find((value) => !known.includes(value))
  if (unknown !== undefined)
    throw new ApiError('invalid_request_error', `${name}: "${unknown}" is not one of ${known.join(', ')}`)
  return values.length === 0 ? undefined : values
}

/** A switch in a query. Throws ApiError. */
export function readSwitch(name: string, value: string | undefined): boolean {
  if (value === undefined || value === '' || value === 'false') return false
  if (value === 'true') return true
  throw new ApiError('invalid_request_error', `${name}: must be true or false`)
}

/** A whole number from 1 in a query. Throws ApiError. */
export function readNumber(name: string, value: string | undefined): number | undefined {
  if (value === undefined || value === '') return undefined
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new ApiError('invalid_request_error', `${name}: must be a whole number from 1`)
  return number
}

const created = (bound: string): string => `created_at[${bound}]`

/** The parameters that `readBounds` reads. */
export const TIME_BOUNDS: readonly string[] = ['gt', 'gte', 'lt', 'lte'].map(created)

/** The resolution of timestamps. */
const MOMENT_MS = 1

/** The times between which something was created, both included, in milliseconds since the epoch. Throws ApiError. */
export function readBounds(c: Context<ServerEnv>): { from: number | undefined; to: number | undefined } {
  const at = (bound: string): number | undefined => readTime(created(bound), c.req.query(created(bound)))
  const [gt, gte, lt, lte] = [at('gt'), at('gte'), at('lt'), at('lte')]
  return { from: gt === undefined ? gte : gt + MOMENT_MS, to: lt === undefined ? lte : lt - MOMENT_MS }
}

/** Throws ApiError. */
export function readOrder(c: Context<ServerEnv>, fallback: 'asc' | 'desc'): 'asc' | 'desc' {
  const order = c.req.query('order') ?? fallback
  if (order === 'asc' || order === 'desc') return order
  throw new ApiError('invalid_request_error', 'order: must be asc or desc')
}
