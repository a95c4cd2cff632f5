import { ApiError } from '../errors.ts'
import { parse } from './schema.ts'
import type { z } from 'zod'

/** The largest body that the API takes. */
export const LARGEST_BODY: number = 32 * 1024 * 1024

/** The body of a request, checked. Throws ApiError. */
export async function readBody<T>(request: Request, schema: z.ZodType<T>): Promise<T> {
  const body: unknown = await request.json().catch((cause: unknown) => {
    if (cause instanceof ApiError) throw cause
    throw new ApiError('invalid_request_error', 'the body is not JSON', { cause })
  })
  return parse(schema, body)
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
