import { BadDirective, Values } from './values.ts'
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

const MAX_MS = 24 * 60 * 60 * 1000
const MAX_TOKENS = 1_000_000
const MAX_TIMES = 1_000_000
const MAX_ALLOCATE_MIB = 64 * 1024
/** The Bash tool takes no longer time limit than ten minutes. */
const MAX_BASH_MS = 600_000

const always = Number.POSITIVE_INFINITY

function parseTool(values: Values): Step {
  const [, name = '', json = ''] = /^(\S+)\s*([\s\S]*)$/.exec(values.text()) ?? []
  let input: unknown
  try {
    input = json === '' ? {} : JSON.parse(json)
  } catch {
    throw values.bad('the input is not JSON')
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw values.bad('the input is no object')
  return { kind: 'tool', name, input: input as Record<string, unknown> }
}

function parseError(values: Values): Step {
  const times = values.namedNumber('times', MAX_TIMES) ?? always
  const retryAfter = values.namedNumber('retry-after', 86_400)
  const status = values.number(599)
  if (!ERROR_STATUSES.includes(status)) throw values.bad(`the status must be one of ${ERROR_STATUSES.join(', ')}`)
  const retryAfterSeconds = retryAfter ?? (status === 429 ? 1 : undefined)
  return { kind: 'error', status, times, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) }
}

/** A shell command that holds memory for a while with nothing but this Node. The fill touches every page. */
function allocateCommand(mebibytes: number, holdMs: number): string {
  const node = process.execPath.replaceAll("'", `'\\''`)
  const allocate = `const held = Buffer.alloc(${mebibytes} * 1048576, 1)`
  return `'${node}' -e '${allocate}; setTimeout(() => console.log("held", held.length / 1048576, "MiB"), ${holdMs})'`
}

function parseAllocate(values: Values): Step {
  const holdMs = values.namedNumber('for', MAX_BASH_MS - 10_000) ?? 2000
  const mebibytes = values.number(MAX_ALLOCATE_MIB)
  const command = allocateCommand(mebibytes, holdMs)
  const timeout = Math.min(MAX_BASH_MS, holdMs + 60_000)
  return { kind: 'tool', name: 'Bash', input: { command, description: `Hold ${mebibytes} MiB`, timeout } }
}

const parseFault = (kind: 'cut' | 'silence', values: Values): Step => ({
  kind,
  times: values.namedNumber('times', MAX_TIMES) ?? always,
})

/** The form of each directive and what reads it. What follows a keyword may stand anywhere after the name. */
const DIRECTIVES: Readonly<Record<string, readonly [form: string, read: (values: Values) => Step]>> = {
  delay: ['delay MS', (values) => ({ kind: 'delay', ms: values.number(MAX_MS) })],
  tokens: [
    'tokens COUNT [pace MS]',
    (values) => {
      const paceMs = values.namedNumber('pace', MAX_MS) ?? 0
      return { kind: 'tokens', count: values.number(MAX_TOKENS), paceMs }
    },
  ],
  text: [
    'text SIZE [chunk SIZE]',
    (values) => {
      const chunkBytes = values.namedSize('chunk') ?? 16 * 1024
      return { kind: 'text', bytes: values.size(), chunkBytes }
    },
  ],
  say: ['say TEXT', (values) => ({ kind: 'say', text: values.text() })],
  thinking: [
    'thinking [TEXT]',
    ({ rest }) => ({ kind: 'thinking', text: rest === '' ? 'Let me think about this.' : rest }),
  ],
  bash: [
    'bash COMMAND',
    (values) => ({ kind: 'tool', name: 'Bash', input: { command: values.text(), description: 'Simulated step' } }),
  ],
  tool: ['tool NAME [JSON OBJECT]', parseTool],
  allocate: ['allocate MEBIBYTES [for MS]', parseAllocate],
  error: ['error STATUS [times COUNT] [retry-after SECONDS]', parseError],
  cut: ['cut [times COUNT]', (values) => parseFault('cut', values)],
  silence: ['silence [times COUNT]', (values) => parseFault('silence', values)],
}

/** The directives whose arguments are free text: nothing is left over after it. */
const TAKES_TEXT = new Set(['say', 'thinking', 'bash', 'tool'])

/** The names that can follow `@sim`. */
export const DIRECTIVE_NAMES: readonly string[] = Object.keys(DIRECTIVES)

/** Reads one directive without its `@sim`, such as `tokens 200 pace 20`: a step, or what is wrong with it. Never throws. */
export function parseStep(line: string): Step | { problem: string } {
  const [, name = '', rest = ''] = /^(\S*)\s*([\s\S]*)$/.exec(line.trim()) ?? []
  const directive = Object.hasOwn(DIRECTIVES, name) ? DIRECTIVES[name] : undefined
  if (directive === undefined) return { problem: `unknown directive "${name}"; known: ${DIRECTIVE_NAMES.join(', ')}` }
  const [form, read] = directive
  const values = new Values(form, rest)
  try {
    const step = read(values)
    if (!TAKES_TEXT.has(name)) values.end()
    return step
  } catch (error) {
    if (error instanceof BadDirective) return { problem: error.message }
    throw error
  }
}

/** Takes a prompt apart. Never throws: what it cannot read is in `problems`. */
export function parseScript(prompt: string): Script {
  const steps: Step[] = []
  const text: string[] = []
  const problems: string[] = []
  for (const line of prompt.split(/\r?\n/)) {
    const directive = /^\s*@sim(?:\s+([\s\S]*))?$/.exec(line)
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
