import { brief, printable } from '../shared/style.ts'

/** What of a tool's input tells people most, first come first shown. */
const TELLING = ['command', 'file_path', 'path', 'pattern', 'url', 'query', 'description', 'prompt']

/** A tool call in a few words. */
export function toolWords(name: string, input: unknown): string {
  const values = (typeof input === 'object' && input !== null ? input : {}) as Record<string, unknown>
  const key = TELLING.find((each) => typeof values[each] === 'string')
  const words = key === undefined ? JSON.stringify(values) : String(values[key])
  return printable(brief(`${name}: ${words}`, 74))
}
