import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { BYTES_EXAMPLE, DURATION_EXAMPLE, parseDuration, parseSize } from '../units.ts'
import { unknownOption } from './unknown.ts'
import { wording } from './wording.ts'

type Field = (path: string, input: Record<string, unknown>) => number | string | undefined

/** One option of a section: what it may look like, and what it becomes. */
export interface FieldSpec {
  shape: Record<string, z.ZodType>
  read: Field
}

export const NONE = 'none'

interface QuantityKind {
  suffix: 'Ms' | 'Bytes'
  unit: string
  parse: (path: string, text: string) => number
  example: string
}

const DURATION: QuantityKind = {
  suffix: 'Ms',
  unit: 'milliseconds',
  parse: parseDuration,
  example: DURATION_EXAMPLE,
}

const SIZE: QuantityKind = { suffix: 'Bytes', unit: 'bytes', parse: parseSize, example: BYTES_EXAMPLE }

/** A quantity that is either a string with a unit or a number whose name carries the unit; never both. */
function quantity(
  name: string,
  { suffix, unit, parse, example }: QuantityKind,
  fallback: string,
  words: readonly string[] = [],
): FieldSpec {
  const numeric = `${name}${suffix}`
  const either = [`like ${JSON.stringify(example)}`, ...words.map((word) => JSON.stringify(word))].join(', or ')
  const error = `must be text with a unit, ${either}; a number of ${unit} is ${numeric}`
  const numberError = `must be a number of ${unit}; text with a unit is ${name}`
  return {
    shape: { [name]: z.string({ error }).optional(), [numeric]: z.number({ error: numberError }).optional() },
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
  quantity(name, DURATION, fallback, words)
export const size = (name: string, fallback: string, words?: readonly string[]): FieldSpec =>
  quantity(name, SIZE, fallback, words)

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
  const error = [`must be a whole number of at least ${least}`, ...words.map((word) => JSON.stringify(word))].join(
    ', or ',
  )
  const number = z.number({ error })
  return {
    shape: { [name]: (words.length > 0 ? z.union([number, z.literal(words)], { error }) : number).optional() },
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

/**
 * Validates with a schema, and turns its first complaint into a ConfigError that names the place. Unknown names for which
 * `declared` holds pass.
 */
export function validate<T>(
  path: string,
  schema: z.ZodType<T>,
  input: unknown,
  declared: (key: string) => boolean = () => false,
): T {
  let known: readonly string[] = []
  const error: z.core.$ZodErrorMap = (issue) => {
    if (issue.code === 'unrecognized_keys' && issue.inst instanceof z.ZodObject) known = Object.keys(issue.inst.shape)
    return wording(issue)
  }
  const result = schema.safeParse(input, { error })
  if (result.success) return result.data
  const placeOf = (issue: z.core.$ZodIssue): string => [path, ...issue.path].filter((part) => part !== '').join('.')
  // An option that is misspelt is missing, too: the first says more.
  for (const issue of result.error.issues) {
    if (issue.code !== 'unrecognized_keys') continue
    const unknown = issue.keys.find((key) => !declared(key))
    if (unknown !== undefined) throw unknownOption(placeOf(issue), unknown, known)
  }
  const other = result.error.issues.find(({ code }) => code !== 'unrecognized_keys')
  if (other === undefined) return input as T
  const place = placeOf(other)
  throw new ConfigError(place === '' ? 'options' : place, other.message)
}
