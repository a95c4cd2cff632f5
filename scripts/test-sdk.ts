/**
 * `npm run test:sdk -- VERSION… [--only PATH] [--parallel]`: runs the process tests on these versions of the Agent SDK, each
 * in an install of its own, and says where they differ and what the peer range may be.
 */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Install } from './test-sdk/install.ts'

/** What came of the tests on one version. */
interface Outcome {
  version: string
  passed: number
  failed: string[]
}

const { values, positionals: versions } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string', default: 'test/process' }, parallel: { type: 'boolean', default: false } },
})
if (versions.length === 0 || !versions.every((version) => /^[\w.-]+$/.test(version))) {
  console.error('usage: npm run test:sdk -- VERSION… [--only PATH] [--parallel]')
  process.exit(2)
}

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())

/** Rejects once this program is told to stop: vitest ends its tests at SIGINT, and their processes with them. */
async function ended(command: string, args: string[], cwd: string, env = process.env): Promise<number> {
  const { signal } = stop
  const child = spawn(command, args, {
    cwd,
    env,
    signal,
    killSignal: 'SIGINT',
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  child.on('error', () => {
    // The signal has ended it, or it did not start: `close` follows.
  })
  const { promise: closed, resolve } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  const code = await closed
  signal.throwIfAborted()
  return code ?? 1
}

async function testOn(wanted: string): Promise<Outcome> {
  await using install = await Install.make(wanted)
  console.log(`\n== Agent SDK ${install.version}`)
  const report = join(install.project, 'report.json')
  const vitest = resolve('node_modules/.bin/vitest')
  await ended(vitest, ['run', '--project', 'process', values.only], install.project, {
    ...process.env,
    TEST_REPORT: report,
    // The compiled files are those of this checkout, made with the types of its own SDK.
    COMPILED: '1',
  })
  return outcomeOf(install.version, JSON.parse(await readFile(report, 'utf8')) as Report)
}

interface Report {
  numPassedTests: number
  testResults: { status: string; message: string; assertionResults: { status: string; fullName: string }[] }[]
}

/** A file that did not even load has no tests. */
function outcomeOf(version: string, { numPassedTests: passed, testResults }: Report): Outcome {
  const failed = testResults.flatMap(({ status, message, assertionResults }) => {
    const tests = assertionResults.flatMap((test) => (test.status === 'failed' ? [test.fullName] : []))
    return tests.length === 0 && status === 'failed' ? [message] : tests
  })
  return { version, passed, failed }
}

const byVersion = (a: Outcome, b: Outcome): number => a.version.localeCompare(b.version, 'en', { numeric: true })

function compare(outcomes: readonly Outcome[]): void {
  const tests = [...new Set(outcomes.flatMap(({ failed }) => failed))]
  for (const { version, passed, failed } of outcomes)
    console.log(`${version}: ${passed} passed, ${failed.length} failed`)
  for (const test of tests) {
    const on = outcomes.filter(({ failed }) => failed.includes(test)).map(({ version }) => version)
    console.log(`fails on ${on.join(', ')}: ${test}`)
  }
}

/** The range begins with the oldest version from which on all passed. */
async function judge(outcomes: readonly Outcome[]): Promise<number> {
  const lastFailure = outcomes.findLastIndex(({ failed, passed }) => failed.length > 0 || passed === 0)
  const oldest = outcomes[lastFailure + 1]?.version
  const { peerDependencies } = JSON.parse(await readFile('package.json', 'utf8')) as {
    peerDependencies: Record<string, string>
  }
  const range = peerDependencies['@anthropic-ai/claude-agent-sdk'] ?? ''
  if (oldest === undefined) {
    console.log(`\nthe newest of these versions does not pass; package.json says ${range}`)
    return 1
  }
  console.log(`\nall pass from ${oldest} on: the peer range may begin there; package.json says ${range}`)
  const declared = /^>=(\S+)/.exec(range)?.[1] ?? ''
  const inRange = outcomes
    .slice(0, lastFailure + 1)
    .some(({ version }) => version.localeCompare(declared, 'en', { numeric: true }) >= 0)
  return inRange ? 1 : 0
}

if ((await ended('npm', ['run', '--silent', 'build'], process.cwd())) !== 0) process.exit(1)
const outcomes: Outcome[] = []
if (values.parallel) outcomes.push(...(await Promise.all(versions.map(testOn))))
else for (const version of versions) outcomes.push(await testOn(version))
outcomes.sort(byVersion)
console.log('')
compare(outcomes)
process.exitCode = await judge(outcomes)
