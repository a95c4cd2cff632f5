import type { Conversation } from './prompt.ts'
import { SUMMARY_MARK } from './prompt.ts'
import type { ModelRequest } from './wire.ts'

/** An answer to a request that the CLI makes for itself, outside of the human's script. */
export type AuxiliaryAnswer =
  | { kind: 'text'; text: string }
  | { kind: 'tool'; name: string; input: Record<string, unknown> }

type Fields = Record<string, unknown>

const fields = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})

/** Deep enough for real schemas, and a bound for recursive ones. */
const MAX_DEPTH = 8

function sampleObject(schema: Fields, root: unknown, depth: number): Fields {
  const properties = fields(schema['properties'])
  const required = Array.isArray(schema['required']) ? schema['required'].map(String) : []
  return Object.fromEntries(required.map((name) => [name, sampleOf(properties[name], root, name, depth + 1)]))
}

function resolve(reference: string, root: unknown): unknown {
  const path = reference.replace(/^#\//, '').split('/')
  return path.reduce<unknown>((value, key) => fields(value)[key], root)
}

/** The smallest value that a JSON schema is likely to accept. */
export function sampleOf(value: unknown, root: unknown = value, name = 'answer', depth = 0): unknown {
  const schema = fields(value)
  if (depth > MAX_DEPTH) return null
  if (typeof schema['$ref'] === 'string') return sampleOf(resolve(schema['$ref'], root), root, name, depth + 1)
  if ('const' in schema) return schema['const']
  const options = [schema['enum'], schema['anyOf'], schema['oneOf']].find(Array.isArray) as unknown[] | undefined
  if (options !== undefined)
    return schema['enum'] === options ? options[0] : sampleOf(options[0], root, name, depth + 1)
  const type = Array.isArray(schema['type']) ? (schema['type'] as unknown[])[0] : schema['type']
  if (type === 'string') return `Simulated ${name}`
  if (type === 'number' || type === 'integer') return typeof schema['minimum'] === 'number' ? schema['minimum'] : 0
  if (type === 'boolean') return false
  if (type === 'array') {
    return Array.from({ length: Math.min(Number(schema['minItems'] ?? 0), 100) }, () =>
      sampleOf(schema['items'], root, name, depth + 1),
    )
  }
  return type === 'object' || 'properties' in schema ? sampleObject(schema, root, depth) : null
}

/** A request that lets the API search the web counts as one search. */
export const searchesFor = ({ tools }: ModelRequest): number =>
  Array.isArray(tools) && tools.some((tool) => String(fields(tool)['type']).startsWith('web_search_')) ? 1 : 0

const hasNoTools = ({ tools }: ModelRequest): boolean => !Array.isArray(tools) || tools.length === 0

/** The input that the `StructuredOutput` tool of this request would take. */
function structuredOutput({ tools }: ModelRequest): Fields | undefined {
  if (!Array.isArray(tools)) return undefined
  const tool = tools.map(fields).find((candidate) => candidate['name'] === 'StructuredOutput')
  return tool && fields(sampleOf(tool['input_schema']))
}

/** The answer to a request of the CLI's own (a title, a summary, a reminder), or nothing when the human's script answers. */
export function auxiliaryAnswer(request: ModelRequest, conversation: Conversation): AuxiliaryAnswer | undefined {
  const format = fields(fields(request['output_config'])['format'])
  if (format['type'] === 'json_schema' && hasNoTools(request)) {
    return { kind: 'text', text: JSON.stringify(sampleOf(format['schema'])) }
  }
  const { wants, turn, notice, prompt } = conversation
  if (wants === 'answer') return undefined
  if (wants === 'summary') {
    const summary = `${SUMMARY_MARK} ${turn}\nThe last one began: ${prompt.slice(0, 200)}`
    return { kind: 'text', text: `<analysis>simulated</analysis>\n<summary>\n${summary}\n</summary>` }
  }
  const input = notice.startsWith('[structured-output-enforce]') ? structuredOutput(request) : undefined
  if (input !== undefined) return { kind: 'tool', name: 'StructuredOutput', input }
  return { kind: 'text', text: `[turn ${turn}] noticed: ${notice}` }
}
