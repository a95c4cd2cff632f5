import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { LiveReport } from '../../src/cli/doctor/live/run.ts'
import { credentialSource } from '../../src/cli/shared/simulated-model.ts'

/** Runs the command; an exit code of 1 says what its report says better. */
async function doctorLive(cwd: string): Promise<LiveReport> {
  const main = resolve(import.meta.dirname, '../../dist/cli/main.js')
  const stdout = await new Promise<string>((done) => {
    execFile(process.execPath, [main, 'doctor', '--live', '--json'], { cwd }, (_error, text) => done(text))
  })
  return (JSON.parse(stdout) as { live: LiveReport }).live
}

test('With the real model every promise is kept, for less than 5 cents', async ({ skip }) => {
  // `npm test` asks no real model, whatever is in the environment.
  skip(process.env['LIVE'] !== '1', 'npm run test:live asks the real model')
  skip(credentialSource({ agents: {} }, process.env) === undefined, 'there is no credential: set ANTHROPIC_API_KEY')
  const cwd = await mkdtemp(join(tmpdir(), 'claude-agent-pool-live-'))
  onTestFinished(() => rm(cwd, { recursive: true, force: true }))
  const { steps, broken, costUsd } = await doctorLive(cwd)
  console.table(steps.map(({ name, pool, plain, costUsd: cost }) => ({ name, ...pool, plainMs: plain?.wholeMs, cost })))
  expect(broken).toEqual([])
  expect(costUsd).toBeLessThan(0.05)
})
