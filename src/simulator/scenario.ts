import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { fileProblem } from '../options/file-problem.ts'
import { wording } from '../options/wording.ts'
import { parseStep, type Step } from './directives.ts'

/** One rule of a scenario, checked. */
export interface ScenarioRule {
  /** Which prompts it is for; undefined is all. */
  readonly match: RegExp | undefined
  /** Its share among the matching rules that have one. */
  readonly weight: number | undefined
  readonly steps: readonly Step[]
}

/** How the simulated model answers prompts that have no directives of their own. Made by `parseScenario`. */
export interface Scenario {
  readonly seed: string
  readonly rules: readonly ScenarioRule[]
  /** For prompts that no rule matches. Empty: the default answer. */
  readonly default: readonly Step[]
}

const stepList = z.array(z.string())

const scenarioSchema = z.strictObject({
  seed: z.union([z.string(), z.number()]).default(0),
  rules: z
    .array(z.strictObject({ match: z.string().optional(), weight: z.number().positive().optional(), steps: stepList }))
    .default([]),
  default: stepList.default([]),
})

const at = (source: string, path: readonly PropertyKey[]): string => [source, ...path.map(String)].join('.')

function parseSteps(lines: readonly string[], source: string, path: readonly PropertyKey[]): Step[] {
  return lines.map((line, index) => {
    const step = parseStep(line)
    if ('problem' in step) throw new ConfigError(at(source, [...path, index]), step.problem)
    return step
  })
}

function parseMatch(pattern: string | undefined, path: string): RegExp | undefined {
  try {
    return pattern === undefined ? undefined : new RegExp(pattern, 'u')
  } catch (cause) {
    throw new ConfigError(path, `"${pattern}" is not a regular expression: ${(cause as Error).message}`, { cause })
  }
}

/** Checks a scenario that was written in code or read from a file. Throws {@link ConfigError} with the path of the fault. */
export function parseScenario(value: unknown, source = 'scenario'): Scenario {
  const { data, error } = scenarioSchema.safeParse(value ?? {}, { error: wording })
  if (error !== undefined) {
    const [issue] = error.issues
    const help = 'expected { seed?, rules?: [{ match?, weight?, steps }], default? }'
    throw new ConfigError(at(source, issue?.path ?? []), `${issue?.message ?? 'not valid'}; ${help}`, { cause: error })
  }
  const rules = data.rules.map(({ match, weight, steps }, index) => ({
    match: parseMatch(match, at(source, ['rules', index, 'match'])),
    weight,
    steps: parseSteps(steps, source, ['rules', index, 'steps']),
  }))
  return { seed: String(data.seed), rules, default: parseSteps(data.default, source, ['default']) }
}

/** Reads a scenario from a YAML or JSON file. Throws {@link ConfigError} that names the file and the fault in it. */
export async function loadScenario(path: string): Promise<Scenario> {
  let value: unknown
  try {
    value = parseYaml(await readFile(path, 'utf8'))
  } catch (cause) {
    throw new ConfigError(path, `cannot be read as YAML or JSON: ${fileProblem(cause)}`, { cause })
  }
  return parseScenario(value, path)
}

/** A number from 0 up to 1 that depends on the seed and the prompt only, so that a run can be repeated. */
function drawn(seed: string, prompt: string): number {
  return (
    createHash('sha256')
      .update(JSON.stringify([seed, prompt]))
      .digest()
      .readUInt32BE(0) /
    2 ** 32
  )
}

function drawRule(rules: readonly ScenarioRule[], draw: number): ScenarioRule | undefined {
  const total = rules.reduce((sum, { weight = 0 }) => sum + weight, 0)
  let left = draw * total
  return rules.find(({ weight = 0 }) => (left -= weight) < 0) ?? rules.at(-1)
}

/** The steps for a prompt: of the first rule that matches. If that has a weight, one is drawn among the weighted rules. */
export function stepsFor(scenario: Scenario, prompt: string): readonly Step[] {
  const matching = scenario.rules.filter(({ match }) => match === undefined || match.test(prompt))
  const [first] = matching
  if (first?.weight === undefined) return first?.steps ?? scenario.default
  const weighted = matching.filter(({ weight }) => weight !== undefined)
  return drawRule(weighted, drawn(scenario.seed, prompt))?.steps ?? scenario.default
}
