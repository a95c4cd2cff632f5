import { mkdir, writeFile } from 'node:fs/promises'
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
    ['claude-agent-pool.config.mts', "export default { agents: { a: { model: 'm' } } } as const"],
    ['claude-agent-pool.config.json', '{\n\t"agents": {\n\t\t"a": { "model": "m" }\n\t}\n}\n'],
  ])('as %s', async (name, text) => {
    const folder = await folderWith({ [name]: text, 'package.json': '{ "type": "module" }' })
    expect(await loadConfig(undefined, folder)).toMatchObject({
      file: name,
      options: { agents: { a: { model: 'm' } } },
    })
  })

  test('under any name that is given', async () => {
    const folder = await folderWith({ 'other.yaml': 'agents: { a: {} }', [YAML]: 'agents: { b: {} }' })
    expect(await loadConfig('other.yaml', folder)).toMatchObject({ file: 'other.yaml', options: { agents: { a: {} } } })
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
    ['agents:\n\ta: {}\n', 'line 2, column 1: is not YAML: '],
    ['agents:\n  a: { model: !env MODEL }\n', 'line 2, column 15: is not YAML: Unresolved tag: !env'],
    ['agents:\n  a: *base\n', 'line 2, column 6: *base stands for nothing: there is no &base before it'],
    ['', 'options: must be a map of options with at least "agents"'],
    ['- a\n', 'line 1: options: must be a map of options with at least "agents"'],
    ['dataDir: x\n', 'agents: must be a map of agents by name, like { assistant: {} }'],
    ['agents: [a]\n', 'line 1: agents: must be a map of agents by name, like { assistant: {} }'],
    ['agents:\n  a: 5\n', 'line 2: agents.a: must be a map of options'],
    ['agents: { a: { cwd: 5 } }\n', 'line 1: agents.a.cwd: must be a path'],
    ['agents: { a: {} }\ndataDir: 5\n', 'line 2: dataDir: must be a path'],
    ['agents: { a: {} }\nlimits:\n  turns: 0\n', 'line 3: limits.turns: 0 is not a whole number of at least 1'],
    ['agents: { a: {} }\nresidency: { idleTtl: 5m, idleTtlMs: 5 }\n', 'line 2: residency.idleTtl: is given twice'],
    ['agents: { a: {} }\nadmission: { mode: hope }\n', 'line 2: admission.mode: "hope" is not one of: shed, wait'],
    [
      'agents: { a: {} }\nlimits:\n  turns: 4\n  trunTimeout: 5m\n',
      'line 4: limits.trunTimeout: is not an option; did you',
    ],
    [
      'agents: { a: {} }\nretention:\n  tenants:\n    x.y: { maxAge: 5 }\n',
      'line 4: retention.tenants.x.y.maxAge: must be',
    ],
    ['agents: { a: {} }\nresidency: &r\n  idleTtl: soon\n', 'line 3: residency.idleTtl: "soon" is not a number with'],
  ])('is refused with the file, the place and its line: %j', async (text, words) => {
    await expect(loadConfig(undefined, await folderWith({ [YAML]: text }))).rejects.toThrow(`${YAML}: ${words}`)
  })

  test('of JSON is refused in the same way', async () => {
    const folder = await folderWith({ 'c.json': '{\n  "agents": { "a": {} },\n  "limits": { "turns": "8" }\n}\n' })
    await expect(loadConfig('c.json', folder)).rejects.toThrow(
      'c.json: line 3: limits.turns: must be a whole number of at least 1, or "auto"',
    )
    const broken = await folderWith({ 'c.json': '{\n  "agents": {\n' })
    await expect(loadConfig('c.json', broken)).rejects.toThrow(/^c\.json: line 3, column 1: is not JSON: /)
  })

  test('that cannot be read is refused without the system’s codes', async () => {
    const folder = await folderWith({})
    await mkdir(join(folder, YAML))
    await expect(loadConfig(undefined, folder)).rejects.toThrow(`${YAML}: cannot be read: it is a directory`)
  })

  test.each([
    ['export const x = 1', 'has no default export'],
    ['export default () => { throw new Error("no key") }', 'cannot be loaded: no key'],
    ['export default {', 'cannot be loaded: '],
    ['export default 5', 'options: must be a map of options'],
    ['\n\nexport default {\n  agents: { a: {} },\n  limits: { turns: 0 },\n}', 'line 5: limits.turns: 0 is not'],
    [
      'const limits = {\n  turns: 0,\n}\nexport default { agents: { a: {} }, limits }',
      'line 2: limits.turns: 0 is not',
    ],
    [
      "/* limits: {} */ export default {\n// limits: { turns: 1 }\n  agents: { a: {} }, 'limits':\n { turns: 0 } }",
      'line 4: ',
    ],
    ['export default { agents: { a: {} }, limits: Object.fromEntries([["turns", 0]]) }', 'limits.turns: 0 is not'],
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
  test('names the file and the line in errors of options, and leaves others alone', () => {
    const lineOf = (path: string) => (path === 'agents.a' ? 7 : undefined)
    expect(blame({ file: 'c.yaml', lineOf }, new ConfigError('agents.a', 'is odd'))).toMatchObject({
      message: 'c.yaml: line 7: agents.a: is odd',
    })
    expect(blame({ file: 'c.yaml', lineOf }, new ConfigError('agents.b', 'is odd'))).toMatchObject({
      path: 'c.yaml: agents.b',
      message: 'c.yaml: agents.b: is odd',
    })
    const other = new Error('x')
    expect(blame({ file: 'c.yaml' }, other)).toBe(other)
    const without = new ConfigError('agents.a', 'is odd')
    expect(blame({ file: undefined }, without)).toBe(without)
  })
})
