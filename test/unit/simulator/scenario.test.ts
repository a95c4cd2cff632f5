import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { loadScenario, parseScenario, stepsFor } from '../../../src/simulator/scenario.ts'

const kinds = (scenario: unknown, prompt: string): string[] =>
  stepsFor(parseScenario(scenario), prompt).map(({ kind }) => kind)

function problemOf(value: unknown): ConfigError {
  try {
    parseScenario(value)
  } catch (error) {
    if (error instanceof ConfigError) return error
  }
  throw new Error('the scenario was accepted')
}

describe('A scenario', () => {
  test('answers by the first rule that matches, else by its default', () => {
    const scenario = {
      rules: [
        { match: '^build', steps: ['bash make', 'say built'] },
        { match: 'build', steps: ['cut'] },
      ],
      default: ['tokens 20'],
    }
    expect(kinds(scenario, 'build it')).toEqual(['tool', 'say'])
    expect(kinds(scenario, 'do build it')).toEqual(['cut'])
    expect(kinds(scenario, 'hello')).toEqual(['tokens'])
  })

  test('may be empty: then every prompt gets the default answer', () => {
    expect(kinds({}, 'hello')).toEqual([])
    expect(kinds(null, 'hello')).toEqual([])
  })

  const shares = {
    seed: 7,
    rules: [
      { weight: 3, steps: ['say a'] },
      { weight: 1, steps: ['cut'] },
    ],
  }

  test('draws among weighted rules by their shares', () => {
    const drawn = Array.from({ length: 2000 }, (_, number) => kinds(shares, `prompt ${number}`)[0])
    const said = drawn.filter((kind) => kind === 'say').length
    expect(said).toBeGreaterThan(1400)
    expect(said).toBeLessThan(1600)
  })

  test('draws the same for the same seed and prompt, and other things for another seed', () => {
    const run = (seed: number): string =>
      Array.from({ length: 50 }, (_, number) => kinds({ ...shares, seed }, `prompt ${number}`)[0]).join()
    expect(run(7)).toBe(run(7))
    expect(run(7)).not.toBe(run(8))
  })

  test('lets a rule without a weight go before those with one', () => {
    const scenario = { rules: [{ match: 'x', steps: ['silence'] }, ...shares.rules] }
    expect(kinds(scenario, 'x')).toEqual(['silence'])
  })
})

describe('A bad scenario', () => {
  test.each([
    [{ rules: [{ steps: ['tokens many'] }] }, 'scenario.rules.0.steps.0', 'many is not a whole number'],
    [{ default: ['dance'] }, 'scenario.default.0', 'unknown directive "dance"; known: delay'],
    [{ rules: [{ match: '(', steps: [] }] }, 'scenario.rules.0.match', 'not a regular expression'],
    [{ rules: [{ match: 'x' }] }, 'scenario.rules.0.steps', 'expected { seed?, rules?'],
    [{ rules: [{ weight: 0, steps: [] }] }, 'scenario.rules.0.weight', 'expected'],
    [{ rulez: [] }, 'scenario', 'rulez'],
    ['text', 'scenario', 'expected'],
  ])('%j is refused with its path', (value, path, problem) => {
    const error = problemOf(value)
    expect(error.path).toBe(path)
    expect(error.message).toContain(problem)
  })
})

describe('A scenario file', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'scenario-'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))

  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(dir, name), content)
    return join(dir, name)
  }

  test('is read as YAML or JSON', async () => {
    const yaml = await loadScenario(await file('a.yaml', 'rules:\n  - match: hi\n    steps: ["tokens 5 pace 1"]\n'))
    const json = await loadScenario(await file('a.json', '{"rules":[{"match":"hi","steps":["tokens 5 pace 1"]}]}'))
    expect(stepsFor(yaml, 'hi')).toEqual([{ kind: 'tokens', count: 5, paceMs: 1 }])
    expect(stepsFor(json, 'hi')).toEqual(stepsFor(yaml, 'hi'))
  })

  test('is named in the error when something is wrong', async () => {
    const missing = join(dir, 'none.yaml')
    await expect(loadScenario(missing)).rejects.toMatchObject({ path: missing, code: 'invalid_config' })
    const broken = await file('broken.yaml', 'rules: [')
    await expect(loadScenario(broken)).rejects.toThrow(`${broken}: cannot be read as YAML or JSON`)
    const wrong = await file('wrong.yaml', 'default: [cut twice]')
    await expect(loadScenario(wrong)).rejects.toThrow(`${wrong}.default.0: "cut twice"`)
  })
})
