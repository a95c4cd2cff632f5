import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { blame, loadConfig } from '../../../src/config/load.ts'
import { ConfigError } from '../../../src/errors.ts'
import { readAgents } from '../../../src/agents/agent.ts'
import type { AgentOptions } from '../../../src/agents/agent.ts'
import { readServerConfig } from '../../../src/server/options.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const old = new URL('../../fixtures/old-data/config/', import.meta.url)

/** Loads all of a config as `serve` does. Throws ConfigError. */
async function load(file: string, folder: string): Promise<void> {
  const config = await loadConfig(file, folder, { fresh: true })
  try {
    readAgents(config.options.agents as Record<string, AgentOptions>, config.options.residency)
    readServerConfig(config.server)
  } catch (error) {
    throw blame(config, error)
  }
}

/** What a person does with a config that is refused: writes the new name in the line that the error names. */
async function rename(file: string, problem: string): Promise<void> {
  const [, line, before, now] =
    /: line (\d+): (?:[\w*.]+\.)?(\w+): is called (?:[\w.]+\.)?(\w+) now; rename it$/.exec(problem) ?? []
  const lines = (await readFile(file, 'utf8')).split('\n')
  const text = lines[Number(line) - 1] ?? ''
  if (before === undefined || !text.includes(before)) throw new Error(problem)
  lines[Number(line) - 1] = text.replace(new RegExp(`\\b${before}\\b`), now ?? '')
  await writeFile(file, lines.join('\n'))
}

test.each(['claude-agent-pool.config.yaml', 'claude-agent-pool.config.ts', 'rest.yaml'])(
  'A config of bf93fcb with every option is taken, save for options that were renamed, which are named with line and new name: %s',
  async (name) => {
    const folder = await temporaryFolder()
    await cp(old, folder, { recursive: true })
    for (;;) {
      const problem = await load(name, folder).then(
        () => undefined,
        (error: unknown) => error,
      )
      if (problem === undefined) break
      expect(problem).toBeInstanceOf(ConfigError)
      await rename(join(folder, name), (problem as ConfigError).message)
    }
  },
)
