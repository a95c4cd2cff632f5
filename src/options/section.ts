import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { parseDuration, parseSize } from '../units.ts'

type Field = (path: string, input: Record<string, unknown>) => number | string | undefined

/** One option of a section: what it may look like, and what it becomes. */
export interface FieldSpec {
  shape: Record<string, z.ZodType>
  read: Field
}

export const NONE = 'none'

/** A quantity that is either a string with a unit or a number whose name carries the unit; never both. */
function quantity(
  name: string,
  suffix: 'Ms' | 'Bytes',
  parse: (path: string, text: string) => number,
  fallback: string,
  words: readonly string[] = [],
): FieldSpec {
  const numeric = `${name}${suffix}`
  return {
    shape: { [name]: z.string().optional(), [numeric]: z.number().optional() },
    read(path, input) {
      const text = input[name] as string | undefined
      const number = input[numeric] as number | undefined
      if (text !== undefined && number !== undefined) {
        throw new ConfigError(`${path}.${name}`, `is given twice, as ${name} and as ${numeric}; keep one`)
      }
      if (number !== undefined) return positive(`${path}.${numeric}`, number)
      const value = text ?? fallback
      if (!words.includes(value)) return parse(`${path}.${name}`, value)
      return value === NONE ? Infinity : value
    },
  }
}

export const duration = (name: string, fallback: string, words?: readonly string[]): FieldSpec =>
  quantity(name, 'Ms', parseDuration, fallback, words)
export const size = (name: string, fallback: string, words?: readonly string[]): FieldSpec =>
  quantity(name, 'Bytes', parseSize, fallback, words)

function positive(path: string, value: number): number {
  if (!Number.isFinite(value) || value <= 0) throw new ConfigError(path, `${value} is not a number above 0`)
  return value
}

/** Throws ConfigError for anything but a whole number of at least `least`. */
export function wholeNumber(path: string, value: unknown, least: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least) {
    throw new ConfigError(path, `${String(value)} is not a whole number of at least ${least}`)
  }
  return value
}

export function count(
  name: string,
  fallback: number | 'auto' | undefined,
  least = 1,
  words: readonly string[] = fallback === 'auto' ? ['auto'] : [],
): FieldSpec {
  const number = z.number()
  return {
    shape: { [name]: (words.length > 0 ? z.union([number, z.literal(words)]) : number).optional() },
    read(path, input) {
      const value = input[name] ?? fallback
      if (value === NONE) return Infinity
      if (value === fallback) return fallback
      if (value === 'auto') return value
      return wholeNumber(`${path}.${name}`, value, least)
    },
  }
}

/** Reads one section: unknown keys and wrong types are refused, defaults filled in, units resolved. */
export function readSection<Resolved>(
  path: string,
  fields: Record<keyof Resolved, FieldSpec>,
  input: unknown,
): Resolved {
  const specs = Object.entries<FieldSpec>(fields)
  const schema = z.strictObject(Object.assign({}, ...specs.map(([, { shape }]) => shape)))
  const values = validate(path, schema, input ?? {}) as Record<string, unknown>
  return Object.freeze(Object.fromEntries(specs.map(([key, { read }]) => [key, read(path, values)]))) as Resolved
}

/** Validates with a schema, and turns its complaint into one ConfigError that names the place. */
export function validate<T>(path: string, schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const place = [path, ...(issue?.path ?? [])].filter((part) => part !== '').join('.')
  if (issue?.code === 'unrecognized_keys') {
    const known = schema instanceof z.ZodObject ? `; known are: ${Object.keys(schema.shape).join(', ')}` : ''
    throw new ConfigError(`${place === '' ? '' : `${place}.`}${issue.keys[0] ?? ''}`, `is not an option${known}`)
  }
  throw new ConfigError(place === '' ? 'options' : place, issue?.message ?? 'is not valid')
}
