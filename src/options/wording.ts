import type { z } from 'zod'
import { suggestionFor } from './suggestion.ts'

type Issue = Parameters<z.core.$ZodErrorMap>[0]

/** What a value is, in a word. The value itself may be a secret. */
function kindOf(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  switch (typeof value) {
    case 'string':
      return 'text'
    case 'number':
    case 'bigint':
      return 'a number'
    case 'boolean':
      return String(value)
    case 'object':
      return 'a map'
    default:
      return `a ${typeof value}`
  }
}

/** What an option must be, by the type that its schema expects. */
const EXPECTED: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list, like [a, b]',
  tuple: 'a list, like [a, b]',
  object: 'a map of options',
  record: 'a map, like { name: value }',
  function: 'a function',
  map: 'a map, like { name: value }',
}

function wrongType(expected: string, input: unknown): string {
  const must = EXPECTED[expected] ?? expected
  if (input === undefined) return `is missing; it must be ${must}`
  if (input === null) return `has no value; it must be ${must}, or left out`
  if (expected === 'int' && typeof input === 'number') return `must be ${must}, and ${input} is none`
  const quotes =
    expected === 'string' && (typeof input === 'number' || typeof input === 'boolean')
      ? '; put it in quotes'
      : typeof input === 'string' && /^(number|int|boolean)$/.test(expected) && /^([\d.]+|true|false)$/.test(input)
        ? '; leave out the quotes'
        : ''
  return `must be ${must}, not ${kindOf(input)}${quotes}`
}

/** "x" is not one of: a, b. */
export function notOneOf(input: unknown, words: readonly string[]): string {
  if (input === null) return `has no value; it must be one of: ${words.join(', ')}`
  if (typeof input === 'number' || typeof input === 'boolean') return `${input} is not one of: ${words.join(', ')}`
  if (typeof input !== 'string') return `must be one of: ${words.join(', ')}`
  const shown = JSON.stringify(input.length > 40 ? `${input.slice(0, 40)}…` : input)
  return `${shown} is not one of: ${words.join(', ')}${suggestionFor(input, words)}`
}

function outOfBounds(issue: Extract<Issue, { code: 'too_small' | 'too_big' }>): string {
  const [bound, exact] =
    issue.code === 'too_small'
      ? [issue.minimum, issue.inclusive === true ? 'at least' : 'more than']
      : [issue.maximum, issue.inclusive === true ? 'at most' : 'less than']
  if (issue.origin === 'string' || issue.origin === 'array') {
    if (issue.code === 'too_small' && Number(bound) <= 1) return 'is empty'
    return `must have ${exact} ${bound} ${issue.origin === 'string' ? 'characters' : 'entries'}`
  }
  return `must be ${exact} ${bound}`
}

/** Of maps that a word tells apart, the words that there are. */
function unionProblem({ discriminator, options, input }: Extract<Issue, { code: 'invalid_union' }>): string {
  if (discriminator === undefined || !Array.isArray(options)) return 'is not valid'
  return notOneOf((input as Record<string, unknown> | undefined)?.[discriminator], options.map(String))
}

/** What is wrong with an option, as a sentence that says what to write. A schema's own words come first. */
export const wording: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'invalid_type':
      return wrongType(issue.expected, issue.input)
    case 'invalid_value':
      return notOneOf(issue.input, issue.values.map(String))
    case 'too_small':
    case 'too_big':
      return outOfBounds(issue)
    case 'invalid_union':
      return unionProblem(issue)
    case 'unrecognized_keys':
      return `${issue.keys.join(', ')} is not an option`
    case 'invalid_format':
      return `is not of the form that it must have (${issue.format})`
    default:
      return 'is not valid'
  }
}
