import { execFileSync } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { ConfigError } from '../../errors.ts'
import type { ManagedAgentsOptions, VaultKeyOptions } from '../../server/index.ts'

/** Keys of vaults, before those of the config: `id=key,id=key`. */
export const VAULT_KEYS = 'CLAUDE_AGENT_POOL_VAULT_KEYS'

/** A program that prints a key has so long, in milliseconds. */
const COMMAND_MS = 30_000

const LONGEST = 64 * 1024

interface From {
  /** The config's file; relative files of keys are beside it. */
  file: string | undefined
  /** What the variable says. */
  text: string
}

/** The same options, with the keys of the environment and of programs, and with files as they are found from anywhere. Throws ConfigError. */
export function withVaultKeys({ vaults, ...rest }: ManagedAgentsOptions, { file, text }: From): ManagedAgentsOptions {
  const folder = dirname(resolve(file ?? '.'))
  const given = (vaults?.keys ?? []).map((options, index) => placed(options, folder, index))
  const keys = [...readKeys(text), ...given]
  return keys.length === 0 ? rest : { ...rest, vaults: { keys } }
}

function readKeys(text: string): VaultKeyOptions[] {
  return text
    .split(',')
    .filter((entry) => entry.trim() !== '')
    .map((entry, index) => {
      const at = entry.indexOf('=')
      if (at < 1) throw new ConfigError(VAULT_KEYS, `entry ${index + 1} is not of the form id=key`)
      return { id: entry.slice(0, at).trim(), key: entry.slice(at + 1).trim() }
    })
}

function placed({ file, command, ...options }: VaultKeyOptions, folder: string, index: number): VaultKeyOptions {
  if (command !== undefined)
    return { ...options, key: keyFrom(command, `server.managedAgents.vaults.keys.${index}.command`) }
  return file === undefined ? options : { ...options, file: resolve(folder, file) }
}

function keyFrom([program = '', ...args]: readonly string[], place: string): string {
  try {
    const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe']
    return execFileSync(program, args, { encoding: 'utf8', timeout: COMMAND_MS, maxBuffer: LONGEST, stdio }).trim()
  } catch (cause) {
    const { stderr = '', code = 'it failed' } = cause as { stderr?: string | Buffer; code?: string | number }
    const said = stderr.toString().trim()
    // The message of Node repeats the arguments.
    const why = said === '' ? String(code) : said.slice(0, 500)
    throw new ConfigError(place, `${program} gave no key: ${why}`)
  }
}
