import type { Options } from '../driver/driver.ts'
import { ConfigError } from '../errors.ts'
import { checkHandOver } from '../process/hand-over.ts'
import type { HandedOver } from '../process/hand-over.ts'

/** The options of any length that a process gets as arguments and variables. */
type Sized =
  | 'allowedTools'
  | 'disallowedTools'
  | 'env'
  | 'extraArgs'
  | 'managedSettings'
  | 'outputFormat'
  | 'settings'
  | 'skills'
  | 'tools'

const listed = (option: string, list: unknown): HandedOver[] =>
  Array.isArray(list) ? [{ option, text: list.join(',') }] : []

function inJson(path: string, option: string, value: unknown): HandedOver[] {
  if (value === undefined || typeof value === 'string') return [{ option, text: value ?? '' }]
  try {
    return [{ option, text: JSON.stringify(value) ?? '' }]
  } catch (cause) {
    throw new ConfigError(`${path}.${option}`, `cannot be written as JSON: ${(cause as Error).message}`, { cause })
  }
}

const named = (option: string, values: Readonly<Record<string, string | null | undefined>> = {}): HandedOver[] =>
  Object.entries(values).map(([name, value]) => ({ option: `${option}.${name}`, text: `${name}=${value ?? ''}` }))

/** Throws ConfigError for an option that no process could be started with: found here, it is not found in the first turn. */
export function checkSizes(path: string, options: Pick<Options, Sized>): void {
  checkHandOver(path, [
    ...listed('allowedTools', options.allowedTools),
    ...listed('disallowedTools', options.disallowedTools),
    ...listed('tools', options.tools),
    ...listed('skills', options.skills),
    ...inJson(path, 'settings', options.settings),
    ...inJson(path, 'managedSettings', options.managedSettings),
    ...inJson(path, 'outputFormat', options.outputFormat?.schema),
    ...named('env', options.env),
    ...named('extraArgs', options.extraArgs),
  ])
}
