import { randomUUID } from 'node:crypto'
import { access, readFile } from 'node:fs/promises'
import { dirname, extname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../errors.ts'
import { checkShape } from './schema.ts'
import type { ConfigOptions } from './schema.ts'
import { parseConfigYaml } from './yaml.ts'

export type { ConfigOptions } from './schema.ts'

/** The names that are looked for, in this order. */
const CONFIG_NAMES = ['ts', 'js', 'mjs', 'yaml', 'yml'].map((end) => `claude-agent-pool.config.${end}`)

/** The agent that there is without a config. */
const DEFAULT_AGENT = 'assistant'

/** A config, and where it came from. */
export interface Config {
  /** As people know it: relative to the folder where it was looked for. Undefined: there is none, and defaults hold. */
  readonly file: string | undefined
  readonly options: ConfigOptions
  /** Its `server` section, as it is: the server checks it. */
  readonly server: unknown
}

/**
 * Reads the config: `file`, or the one in `folder`, or else the defaults. Throws ConfigError that names the file and the
 * place in it. `fresh`: a module is read again, though not what it imports. What only createPool() can check is checked there; give its error to {@link blame}.
 */
export async function loadConfig(
  file: string | undefined,
  folder: string,
  { fresh = false }: { fresh?: boolean } = {},
): Promise<Config> {
  const name = file ?? (await findConfig(folder))
  if (name === undefined) return { file: undefined, options: { agents: { [DEFAULT_AGENT]: {} } }, server: undefined }
  const path = resolve(folder, name)
  const shown = file ?? relative(folder, path)
  if (!(await exists(path))) throw new ConfigError('--config', `there is no file ${shown}`)
  const value = await read(path, shown, fresh)
  const { server, ...options } = blamed(shown, () => checkShape(value, dirname(path)))
  return { file: shown, options, server }
}

/** The same error, with the file that is to be mended. Errors of another kind come back as they are. */
export function blame(file: string | undefined, error: unknown): unknown {
  if (file === undefined || !(error instanceof ConfigError)) return error
  const problem = error.message.slice(`${error.path}: `.length)
  return new ConfigError(`${file}: ${error.path}`, problem, { cause: error.cause })
}

function blamed<T>(file: string, check: () => T): T {
  try {
    return check()
  } catch (error) {
    throw blame(file, error)
  }
}

async function findConfig(folder: string): Promise<string | undefined> {
  const found: string[] = []
  for (const name of CONFIG_NAMES) if (await exists(join(folder, name))) found.push(name)
  if (found.length > 1)
    throw new ConfigError(found.join(', '), 'only one can hold; remove the others, or choose with --config')
  return found[0]
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

function read(path: string, shown: string, fresh: boolean): Promise<unknown> {
  switch (extname(path)) {
    case '.yaml':
    case '.yml':
      return readYaml(path, shown)
    case '.ts':
    case '.mts':
    case '.js':
    case '.mjs':
      return readModule(path, shown, fresh)
    default:
      throw new ConfigError(shown, 'a config ends with .ts, .js, .mjs, .yaml or .yml')
  }
}

async function readYaml(path: string, shown: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new ConfigError(shown, `cannot be read: ${(cause as Error).message}`, { cause })
  }
  return blamed(shown, () => parseConfigYaml(text))
}

async function readModule(path: string, shown: string, fresh: boolean): Promise<unknown> {
  const url = pathToFileURL(path)
  // Under another name the module is another one.
  if (fresh) url.search = `read=${randomUUID()}`
  try {
    const { default: value } = (await import(url.href)) as { default?: unknown }
    if (value === undefined)
      throw new ConfigError(shown, 'has no default export; export the options, or a function that returns them')
    return typeof value === 'function' ? await (value as () => unknown)() : value
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    throw new ConfigError(shown, `cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
  }
}
