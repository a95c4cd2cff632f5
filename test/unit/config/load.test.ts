import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { blame, loadConfig } from '../../../src/config/load.ts'
import { ConfigError } from '../../../src/errors.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

async function folderWith(files: Record<string, string>): Promise<string> {
  const path = await temporaryFolder()
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text)
  return path
}

const YAML = 'claude-agent-pool.config.yaml'

describe('Without a config', () => {
  test('there is one agent with defaults', async () => {
    expect(await loadConfig(undefined, await folderWith({}))).toEqual({
      file: undefined,
      options: { agents: { assistant: {} } },
    })
  })

  test('a file that was named is missed', async () => {
    await expect(loadConfig('none.yaml', await folderWith({}))).rejects.toThrow('--config: there is no file none.yaml')
  })
})

describe('A config is found', () => {
  test.each([
    ['claude-agent-pool.config.ts', "const model: string = 'm'\nexport default { agents: { a: { model } } }"],
    ['claude-agent-pool.config.js', "export default { agents: { a: { model: 'm' } } }"],
    ['claude-agent-pool.config.mjs', "export default async () => ({ agents: { a: { model: 'm' } } })"],
    ['claude-agent-pool.config.yaml', 'agents:\n  a:\n    model: m\n'],
    ['claude-agent-pool.config.yml', '{ "agents": { "a": { "model": "m" } } }'],
  ])('as %s', async (name, text) => {
    const folder = await folderWith({ [name]: text, 'package.json': '{ "type": "module" }' })
    expect(await loadConfig(undefined, folder)).toEqual({ file: name, options: { agents: { a: { model: 'm' } } } })
  })

  test('under any name that is given', async () => {
    const folder = await folderWith({ 'other.yaml': 'agents: { a: {} }', [YAML]: 'agents: { b: {} }' })
    expect(await loadConfig('other.yaml', folder)).toEqual({ file: 'other.yaml', options: { agents: { a: {} } } })
  })

  test('but not when there are two', async () => {
    const folder = await folderWith({ [YAML]: '', 'claude-agent-pool.config.mjs': '' })
    await expect(loadConfig(undefined, folder)).rejects.toThrow(
      'claude-agent-pool.config.mjs, claude-agent-pool.config.yaml: only one can hold',
    )
  })
})

describe('A config', () => {
  test('takes relative paths as relative to its folder', async () => {
    const folder = await folderWith({ [YAML]: 'dataDir: ../data\nagents: { a: { cwd: work }, b: { cwd: /abs } }' })
    const { options } = await loadConfig(join(folder, YAML), '/')
    expect(options.dataDir).toBe(join(folder, '..', 'data'))
    expect(options.agents).toEqual({ a: { cwd: join(folder, 'work') }, b: { cwd: '/abs' } })
  })

  test('may name an agent and leave its options out', async () => {
    const { options } = await loadConfig(undefined, await folderWith({ [YAML]: 'agents:\n  a:\n  b:\n' }))
    expect(options).toEqual({ agents: { a: {}, b: {} } })
  })

  test('may share options between agents', async () => {
    const text = 'agents:\n  a: &base { model: m }\n  b: *base\n'
    const { options } = await loadConfig(undefined, await folderWith({ [YAML]: text }))
    expect(options.agents).toEqual({ a: { model: 'm' }, b: { model: 'm' } })
  })

  test.each([
    ['agents:\n  a: {}\n  b: {}\n  a: {}\n', 'agents.a: is there twice, in lines 2 and 4; keep one'],
    ['agents:\n  a:\n    model: x\n    model: y\n', 'agents.a.model: is there twice, in lines 3 and 4; keep one'],
    ['agents: {}\nagents: {}\n', 'agents: is there twice, in lines 1 and 2; keep one'],
    ['agents:\n\ta: {}\n', 'line 2, column 1: '],
    ['', 'options: must be a map of options with at least "agents"'],
    ['- a\n', 'options: must be a map of options with at least "agents"'],
    ['dataDir: x\n', 'agents: must be a map of agents by name, like { assistant: {} }'],
    ['agents: [a]\n', 'agents: must be a map of agents by name, like { assistant: {} }'],
    ['agents: { a: 5 }\n', 'agents.a: must be a map of options'],
    ['agents: { a: { cwd: 5 } }\n', 'agents.a.cwd: must be a path'],
    ['agents: { a: {} }\ndataDir: 5\n', 'dataDir: must be a path'],
    ['agents: { a: {} }\nlimits: { turns: 0 }\n', 'limits.turns: 0 is not a whole number of at least 1'],
    ['agents: { a: {} }\nresidency: { idleTtl: 5m, idleTtlMs: 5 }\n', 'residency.idleTtl: is given twice'],
    ['agents: { a: {} }\nadmission: { mode: hope }\n', 'admission.mode: "hope" is not one of: shed, wait'],
  ])('is refused with the file and the place: %j', async (text, words) => {
    await expect(loadConfig(undefined, await folderWith({ [YAML]: text }))).rejects.toThrow(`${YAML}: ${words}`)
  })

  test.each([
    ['export const x = 1', 'has no default export'],
    ['export default () => { throw new Error("no key") }', 'cannot be loaded: no key'],
    ['export default {', 'cannot be loaded: '],
    ['export default 5', 'options: must be a map of options'],
  ])('in code is refused with the file: %j', async (text, words) => {
    const folder = await folderWith({ 'c.mjs': text })
    const failure = loadConfig('c.mjs', folder)
    await expect(failure).rejects.toThrow(ConfigError)
    await expect(failure).rejects.toThrow(`c.mjs: ${words}`)
  })

  test('of another kind is refused', async () => {
    await expect(loadConfig('c.toml', await folderWith({ 'c.toml': '' }))).rejects.toThrow('c.toml: a config ends with')
  })
})

describe('Blame', () => {
  test('names the file in errors of options, and leaves others alone', () => {
    expect(blame('c.yaml', new ConfigError('agents.a', 'is odd'))).toMatchObject({
      path: 'c.yaml: agents.a',
      message: 'c.yaml: agents.a: is odd',
    })
    const other = new Error('x')
    expect(blame('c.yaml', other)).toBe(other)
    const without = new ConfigError('agents.a', 'is odd')
    expect(blame(undefined, without)).toBe(without)
  })
})
