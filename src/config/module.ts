import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../errors.ts'
import type { ConfigText } from './yaml.ts'

/** Loads a config of code: its default export, or what the function gives that it is. Throws ConfigError that names `shown`. */
export async function loadConfigModule(path: string, shown: string, fresh: boolean): Promise<ConfigText> {
  const url = pathToFileURL(path)
  // Under another name the module is another one.
  if (fresh) url.search = `read=${randomUUID()}`
  try {
    const { default: given } = (await import(url.href)) as { default?: unknown }
    if (given === undefined)
      throw new ConfigError(shown, 'has no default export; export the options, or a function that returns them')
    const value = typeof given === 'function' ? await (given as () => unknown)() : given
    return { value, lineOf: (option) => lineInCode(path, option) }
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    throw new ConfigError(shown, `cannot be loaded: ${explain(cause)}`, { cause })
  }
}

function explain(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  const { code } = cause as NodeJS.ErrnoException
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')
    return `${cause.message}; Node reads types, but not TypeScript's enums, namespaces or decorators`
  if (cause instanceof SyntaxError && /import statement|Unexpected token 'export'/.test(cause.message))
    return `${cause.message}; name it .mts or .mjs, or set "type": "module" in the package.json beside it`
  return cause.message
}

/** The line of an option in the source of a module; undefined when its names are not there, since code can make them. */
function lineInCode(path: string, option: string): number | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
  const code = text.replaceAll(/\/\*[^]*?\*\/|(?<![:'"`])\/\/.*/g, (comment) => comment.replaceAll(/[^\n]/g, ' '))
  let found: { from: number; to: number } | undefined
  for (const name of option.split('.').filter((part) => !/^\d+$/.test(part))) {
    found = keyIn(code, name, found?.to ?? 0) ?? keyIn(code, name, 0)
    if (found === undefined) return undefined
  }
  return found === undefined ? undefined : code.slice(0, found.from).split('\n').length
}

/** The first key of this name behind `from`. */
function keyIn(code: string, name: string, from: number): { from: number; to: number } | undefined {
  const escaped = name.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`)
  const key = new RegExp(String.raw`(?<![\w$.'"])(?:(['"])${escaped}\1\s*:|${escaped}\s*[:(,}])`, 'g')
  key.lastIndex = from
  const match = key.exec(code)
  return match === null ? undefined : { from: match.index, to: key.lastIndex - 1 }
}
