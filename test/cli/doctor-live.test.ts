import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { LiveReport } from '../../src/cli/doctor/live/run.ts'
import { parseScenario, startSimulator } from '../../src/simulator/server.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { run } from './command.ts'
import type { Ended } from './command.ts'
import { WHOLE } from '../fixtures/whole.ts'

// It starts a dozen processes, one after the other.
vi.setConfig({ testTimeout: 300_000 })

/** What a model answers that does as it is told. */
const OBEDIENT = [
  { match: '^Remember the code', steps: ['say OK'] },
  { match: '^What is the code', steps: ['say 4711'] },
  { match: 'echo kept', steps: ['bash echo kept > live.txt', 'say DONE'] },
  { match: 'touch asked', steps: ['bash touch asked.txt', 'say DONE'] },
]

/** `doctor --live`, with the simulator in the model's place. */
async function live(rules: object[], ...args: string[]): Promise<Ended & { cwd: string }> {
  const simulator = await startSimulator({ scenario: parseScenario({ rules }) })
  onTestFinished(() => simulator.close())
  const cwd = await temporaryFolder()
  const env = { ANTHROPIC_BASE_URL: simulator.url, ANTHROPIC_API_KEY: 'simulated' }
  return { ...(await run(['doctor', '--live', ...args], { cwd, env })), cwd }
}

const reportOf = ({ stdout }: Ended): LiveReport => (JSON.parse(stdout) as { live: LiveReport }).live

test('With a model that does as it is told every promise is kept, each step beside the plain SDK', async () => {
  const before = (await readdir(tmpdir())).filter((name) => name.startsWith('claude-agent-pool-live-'))
  const ended = await live(OBEDIENT, '--json')
  expect(ended).toMatchObject({ code: 0, left: 0 })
  expect(ended.stderr).toMatch(
    /This asks the real model \(haiku\).*your credential \(ANTHROPIC_API_KEY\).*less than 5 cents/,
  )
  const { steps, broken, left, costUsd } = reportOf(ended)
  expect([broken, left]).toEqual([[], 0])
  expect(steps.map(({ name }) => name)).toEqual([
    'cold',
    'live',
    'resumed',
    'spare',
    'Bash tool',
    'permission question',
    'official client',
    'AG-UI',
  ])
  for (const { pool, plain, besides, skipped } of steps) {
    expect(skipped).toBeUndefined()
    expect(pool?.firstMs).toBeGreaterThan(0)
    expect(pool?.wholeMs).toBeGreaterThanOrEqual(pool?.firstMs ?? Infinity)
    expect(plain?.wholeMs ?? besides).toBeDefined()
  }
  expect(costUsd).toBeGreaterThan(0)
  expect(costUsd).toBeLessThan(0.05)
  const after = (await readdir(tmpdir())).filter((name) => name.startsWith('claude-agent-pool-live-'))
  expect(after.filter((name) => !before.includes(name))).toEqual([])
})

test.runIf(WHOLE)('What is not as promised is named, and the exit code is 1', async () => {
  const forgetful = OBEDIENT.map((rule) =>
    rule.match === '^What is the code' ? { ...rule, steps: ['say I do not know.'] } : rule,
  )
  const lazy = forgetful.map((rule) => (rule.match === 'touch asked' ? { ...rule, steps: ['say DONE'] } : rule))
  const { code, stdout, left } = await live(lazy)
  expect([code, left]).toEqual([1, 0])
  expect(stdout).toMatch(
    /^live .* BROKEN\n {2}→ the conversation does not know what was said before: "I do not know\."$/m,
  )
  expect(stdout).toMatch(/^resumed .* BROKEN$/m)
  expect(stdout).toMatch(
    /^permission question .* BROKEN\n {2}→ the command that the agent was to run has left nothing$/m,
  )
  expect(stdout).toMatch(/^cold .* ok$/m)
  expect(stdout).toMatch(/3 not as promised\n$/)
})

test('It stops before it costs more than it has said', async () => {
  const dear = [{ match: '^Remember the code', steps: ['text 400KiB'] }, ...OBEDIENT]
  const { steps, costUsd, broken } = reportOf(await live(dear, '--json'))
  expect(costUsd).toBeGreaterThan(0.03)
  expect(broken.some((problem) => problem.includes('were spent before it'))).toBe(true)
  expect(steps.filter(({ pool, plain }) => pool !== undefined || plain !== undefined).map(({ name }) => name)).toEqual([
    'cold',
  ])
  expect(steps[0]?.plain).toBeUndefined()
})

test('Without a credential it asks for one', async () => {
  const cwd = await temporaryFolder()
  expect(await run(['doctor', '--live'], { cwd })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--live: asks the real model and finds no credential; set ANTHROPIC_API_KEY/),
  })
})
