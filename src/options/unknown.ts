import { ConfigError } from '../errors.ts'
import { RENAMED } from './renamed.ts'
import { suggestionFor } from './suggestion.ts'

/** The path that an option with this one has now; undefined when it never had another name. */
function renamedTo(path: string): string | undefined {
  for (const [before, now] of Object.entries(RENAMED)) {
    const names = new RegExp(`^${before.replaceAll('.', String.raw`\.`).replaceAll('*', '(.+)')}$`).exec(path)?.slice(1)
    if (names !== undefined) return now.replaceAll('*', () => names.shift() ?? '')
  }
  return undefined
}

/**
 * The error for an option that does not exist: with its new name if it was renamed, else with the known one that is most
 * like it, else with all that are `known`. `place`: the path of the map that holds it.
 */
export function unknownOption(
  place: string,
  key: string,
  known: readonly string[],
  what: string = 'an option',
): ConfigError {
  const path = place === '' ? key : `${place}.${key}`
  const now = renamedTo(path)
  if (now !== undefined) return new ConfigError(path, `is called ${now} now; rename it`)
  const suggestion = suggestionFor(key, known)
  const list = suggestion === '' && known.length > 0 ? `; known are: ${known.join(', ')}` : suggestion
  return new ConfigError(path, `is not ${what}${list}`)
}

/** Refuses options of a call that do not exist: each is a control that would not be there. Throws ConfigError. */
export function checkOptions<T extends object>(call: string, given: T, known: Readonly<Record<keyof T, true>>): void {
  const names = Object.keys(known)
  if (typeof given !== 'object' || given === null)
    throw new ConfigError(call, `takes its options as an object, like { ${names[0] ?? ''}: … }`)
  const unknown = Object.keys(given).find((key) => !names.includes(key))
  if (unknown !== undefined) throw unknownOption('', unknown, names, `an option of ${call}`)
}
