import { ERROR_STATUSES } from './wire.ts'

/** One thing that the simulated model does. Durations are milliseconds, sizes are bytes. */
export type Step =
  | { kind: 'delay'; ms: number }
  | { kind: 'tokens'; count: number; paceMs: number }
  | { kind: 'say'; text: string }
  | { kind: 'text'; bytes: number; chunkBytes: number }
  | { kind: 'thinking'; text: string }
  | { kind: 'tool'; name: string; input: Record<string, unknown> }
  | Fault

/** A step that spoils a request: always, or the first `times` requests that reach it. */
export type Fault = (
  | { kind: 'error'; status: number; retryAfterSeconds?: number }
  | { kind: 'cut' }
  | { kind: 'silence' }
) & { times: number }

/** A prompt, taken apart: the steps it asks for, the words around them, and what could not be understood. */
export interface Script {
  steps: readonly Step[]
  /** The prompt without its directive lines. */
  text: string
  problems: readonly string[]
}

const MiB = 1024 * 1024
const MAX_MS = 24 * 60 * 60 * 1000
const MAX_TOKENS = 1_000_000
const MAX_TEXT = 256 * MiB
const MAX_ALLOCATE_MIB = 64 * 1024
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KIB: 1024,
  MIB: MiB,
  GIB: 1024 * MiB,
}

/** Thrown inside this file only: it becomes one entry of `problems`. */
class BadDirective extends Error {}

const usage = (form: string, got: string): BadDirective => new BadDirective(`expected "${form}", got "${got}"`)

function wholeNumber(text: string | undefined, max: number, form: string, got: string): number {
  const value = /^\d{1,15}$/.test(text ?? '') ? Number(text) : Number.NaN
  if (!(value <= max)) throw usage(`${form}" with a whole number from 0 to "${max}`, got)
  return value
}

function size(text: string | undefined, form: string, got: string): number {
  const [, digits, unit] = /^(\d{1,15})\s*([a-z]*)$/i.exec(text ?? '') ?? []
  const bytes = Number(digits) * (UNITS[(unit ?? '').toUpperCase()] ?? Number.NaN)
  if (!(bytes >= 1 && bytes <= MAX_TEXT)) throw usage(`${form}" with a size from 1 to 256MiB, such as "64KiB`, got)
  return bytes
}

/** Reads `word VALUE word VALUE …` where only the words in `known` may appear. */
function named(words: readonly string[], known: readonly string[], form: string, got: string): Map<string, string> {
  const values = new Map<string, string>()
  for (let at = 0; at < words.length; at += 2) {
    const word = words[at] ?? ''
    const value = words[at + 1]
    if (!known.includes(word) || value === undefined || values.has(word)) throw usage(form, got)
    values.set(word, value)
  }
  return values
}

function timesOf(words: readonly string[], form: string, got: string): number {
  const times = named(words, ['times'], form, got).get('times')
  return times === undefined ? Number.POSITIVE_INFINITY : wholeNumber(times, 1_000_000, form, got)
}

const split = (rest: string): string[] => (rest === '' ? [] : rest.split(/\s+/))

function parseTokens(rest: string): Step {
  const form = 'tokens COUNT [pace MS]'
  const [count, ...others] = split(rest)
  const pace = named(others, ['pace'], form, `tokens ${rest}`).get('pace') ?? '0'
  return {
    kind: 'tokens',
    count: wholeNumber(count, MAX_TOKENS, form, `tokens ${rest}`),
    paceMs: wholeNumber(pace, MAX_MS, form, `tokens ${rest}`),
  }
}

function parseTool(rest: string): Step {
  const form = 'tool NAME {"json": "object"}'
  const [, name, json] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? []
  if (name === undefined) throw usage(form, `tool ${rest}`)
  let input: unknown
  try {
    input = json === '' || json === undefined ? {} : JSON.parse(json)
  } catch (cause) {
    throw new BadDirective(`"tool ${name}" needs its input as JSON: ${String(cause)}`)
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw usage(form, `tool ${rest}`)
  return { kind: 'tool', name, input: input as Record<string, unknown> }
}

function parseError(rest: string): Step {
  const form = 'error STATUS [times COUNT] [retry-after SECONDS]'
  const got = `error ${rest}`
  const [status, ...others] = split(rest)
  const code = Number(status)
  if (!ERROR_STATUSES.includes(code)) throw usage(`${form}" with one of "${ERROR_STATUSES.join(', ')}`, got)
  const values = named(others, ['times', 'retry-after'], form, got)
  const times = values.get('times')
  const after = values.get('retry-after') ?? (code === 429 ? '1' : undefined)
  return {
    kind: 'error',
    status: code,
    times: times === undefined ? Number.POSITIVE_INFINITY : wholeNumber(times, 1_000_000, form, got),
    ...(after === undefined ? {} : { retryAfterSeconds: wholeNumber(after, 86_400, form, got) }),
  }
}

/** A command that holds memory for a while, with nothing but the Node that runs this. The fill touches every page. */
function allocateCommand(mebibytes: number, holdMs: number): string {
  const script = `const held = Buffer.alloc(${mebibytes} * 1048576, 1); setTimeout(() => console.log("held ${mebibytes} MiB " + held.length), ${holdMs})`
  return `'${process.execPath.replaceAll("'", `'\\''`)}' -e '${script}'`
}

function parseAllocate(rest: string): Step {
  const form = 'allocate MEBIBYTES [for MS]'
  const got = `allocate ${rest}`
  const [amount, ...others] = split(rest)
  const mebibytes = wholeNumber(amount, MAX_ALLOCATE_MIB, form, got)
  const holdMs = wholeNumber(named(others, ['for'], form, got).get('for') ?? '2000', 590_000, form, got)
  const command = allocateCommand(mebibytes, holdMs)
  // The Bash tool ends a command after two minutes unless it is told otherwise; ten is the most it takes.
  const timeout = Math.min(600_000, holdMs + 60_000)
  return { kind: 'tool', name: 'Bash', input: { command, description: `Hold ${mebibytes} MiB`, timeout } }
}

function parseText(rest: string): Step {
  const form = 'text SIZE [chunk SIZE]'
  const [bytes, ...others] = split(rest)
  const chunk = named(others, ['chunk'], form, `text ${rest}`).get('chunk') ?? '16KiB'
  return { kind: 'text', bytes: size(bytes, form, `text ${rest}`), chunkBytes: size(chunk, form, `text ${rest}`) }
}

function required(rest: string, form: string): string {
  if (rest === '') throw usage(form, form.split(' ')[0] ?? '')
  return rest
}

const PARSERS: Readonly<Record<string, (rest: string) => Step>> = {
  delay: (rest) => ({ kind: 'delay', ms: wholeNumber(rest, MAX_MS, 'delay MS', `delay ${rest}`) }),
  tokens: parseTokens,
  say: (rest) => ({ kind: 'say', text: required(rest, 'say TEXT') }),
  text: parseText,
  thinking: (rest) => ({ kind: 'thinking', text: rest === '' ? 'Let me think about this.' : rest }),
  bash: (rest) => ({
    kind: 'tool',
    name: 'Bash',
    input: { command: required(rest, 'bash COMMAND'), description: 'Run a simulated step' },
  }),
  tool: parseTool,
  allocate: parseAllocate,
  error: parseError,
  cut: (rest) => ({ kind: 'cut', times: timesOf(split(rest), 'cut [times COUNT]', `cut ${rest}`) }),
  silence: (rest) => ({ kind: 'silence', times: timesOf(split(rest), 'silence [times COUNT]', `silence ${rest}`) }),
}

/** The words that can follow `@sim`. */
export const DIRECTIVES: readonly string[] = Object.keys(PARSERS)

/** Reads one directive without its `@sim`: `tokens 200 pace 20`. Answers with the step, or with what is wrong. Never throws. */
export function parseStep(line: string): Step | { problem: string } {
  const [, word = '', rest = ''] = /^\s*(\S*)\s*([\s\S]*?)\s*$/.exec(line) ?? []
  const parser = Object.hasOwn(PARSERS, word) ? PARSERS[word] : undefined
  if (parser === undefined) return { problem: `unknown directive "${word}"; known: ${DIRECTIVES.join(', ')}` }
  try {
    return parser(rest)
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}

/** Takes a prompt apart. Never throws: what it cannot read is in `problems`. */
export function parseScript(prompt: string): Script {
  const steps: Step[] = []
  const text: string[] = []
  const problems: string[] = []
  for (const line of prompt.split(/\r?\n/)) {
    const directive = /^\s*@sim(?:\s+(.*))?$/.exec(line)
    if (directive === null) {
      text.push(line)
      continue
    }
    const step = parseStep(directive[1] ?? '')
    if ('problem' in step) problems.push(step.problem)
    else steps.push(step)
  }
  return { steps, text: text.join('\n').trim(), problems }
}
