import { access, readFile } from 'node:fs/promises'
import { dirname, extname, join, relative, resolve } from 'node:path'
import { ConfigError } from '../errors.ts'
import { fileProblem } from '../options/file-problem.ts'
import { loadConfigModule } from './module.ts'
import { checkShape } from './schema.ts'
import type { ConfigOptions } from './schema.ts'
import { parseConfigYaml } from './yaml.ts'
import type { ConfigText } from './yaml.ts'

export type { ConfigOptions } from './schema.ts'

/** The names that are looked for, in this order. */
const CONFIG_NAMES = ['ts', 'mts', 'js', 'mjs', 'yaml', 'yml', 'json'].map((end) => `claude-agent-pool.config.${end}`)

/** The agent that there is without a config. */
const DEFAULT_AGENT = 'assistant'

/** A config, and where it came from. */
export interface Config {
  /** As people know it: relative to the folder where it was looked for. Undefined: there is none, and defaults hold. */
  readonly file: string | undefined
  readonly options: ConfigOptions
  /** Its `server` section, as it is: the server checks it. */
  readonly server: unknown
  /** The line of an option in the file, if it is known. */
  readonly lineOf?: ConfigText['lineOf']
}

/** Where a config came from. */
export type ConfigSource = Pick<Config, 'file' | 'lineOf'>

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
  const { value, lineOf } = await read(path, shown, fresh)
  const source = { file: shown, lineOf }
  const { server, ...options } = blamed(source, () => checkShape(value, dirname(path)))
  return { ...source, options, server }
}

/** The same error, with the file and the line to correct. Errors of another kind come back as they are. */
export function blame({ file, lineOf }: ConfigSource, error: unknown): unknown {
  if (file === undefined || !(error instanceof ConfigError)) return error
  const line = lineOf?.(error.path)
  const place = line === undefined ? file : `${file}: line ${line}`
  return new ConfigError(`${place}: ${error.path}`, error.problem, { cause: error.cause })
}

function blamed<T>(source: ConfigSource, check: () => T): T {
  try {
    return check()
  } catch (error) {
    throw blame(source, error)
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

async function read(path: string, shown: string, fresh: boolean): Promise<ConfigText> {
  switch (extname(path)) {
    case '.yaml':
    case '.yml':
      return readText(path, shown, 'YAML')
    case '.json':
      return readText(path, shown, 'JSON')
    case '.ts':
    case '.mts':
    case '.js':
    case '.mjs':
      return loadConfigModule(path, shown, fresh)
    default:
      throw new ConfigError(shown, 'a config ends with .ts, .mts, .js, .mjs, .yaml, .yml or .json')
  }
}

async function readText(path: string, shown: string, language: 'YAML' | 'JSON'): Promise<ConfigText> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new ConfigError(shown, `cannot be read: ${fileProblem(cause)}`, { cause })
  }
  return blamed({ file: shown }, () => parseConfigYaml(text, language))
}
