import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const project = resolve(import.meta.dirname, '../..')
const npmQuietly = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel', 'error']
const run = promisify(execFile)

/** What somebody who installed the package writes first. */
const consumer = `
import { createPool, CapacityError } from 'claude-agent-pool'
import * as simulator from 'claude-agent-pool/simulator'

export async function ask(question: string): Promise<string[]> {
  await using pool = await createPool({ agents: { support: { systemPrompt: 'You help.', tools: ['Read'] } } })
  const session = await pool.session('conversation-42', { agent: 'support' })
  const answers: string[] = []
  for await (const message of session.send(question)) if (message.type === 'result') answers.push(message.subtype)
  return answers
}
export const later = (error: unknown): number => (error instanceof CapacityError ? error.retryAfterMs : 0)
export const names: string[] = Object.keys(simulator)
`

let home: string
let version: string
let packed: string[]

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'pool-install-'))
  version = (JSON.parse(await readFile(join(project, 'package.json'), 'utf8')) as { version: string }).version
  // Packing builds, from nothing.
  const { stdout } = await run('npm', ['pack', '--json', '--silent', '--pack-destination', home], { cwd: project })
  const [tarball] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string; files: { path: string }[] }]
  packed = tarball.files.map(({ path }) => path)
  await writeFile(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  await run('npm', ['install', ...npmQuietly, join(home, tarball.filename)], { cwd: home })
})

afterAll(() => rm(home, { recursive: true, force: true }))

test('the tarball holds the compiled files and nothing else', () => {
  expect(packed).toContain('dist/index.d.ts')
  expect(
    packed.filter((path) => !/^(dist\/.*\.(js|d\.ts)|package\.json|LICENSE|README\.md|CHANGELOG\.md)$/.test(path)),
  ).toEqual([])
})

test('both entry points load in plain Node', async () => {
  const script = `
    const { createPool, PoolError } = await import('claude-agent-pool')
    const simulator = await import('claude-agent-pool/simulator')
    const functions = Object.values(simulator).filter((value) => typeof value === 'function')
    console.log(typeof createPool, new PoolError('capacity', 'full').code, functions.length > 0)
  `
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: home })
  expect(stdout.trim()).toBe('function capacity true')
  // Node 24 still calls its SQLite experimental.
  expect(stderr.replace(/^\(node:\d+\) ExperimentalWarning: SQLite.*\n.*\n/, '')).toBe('')
})

test('the command is installed and runs', async () => {
  const command = join(home, 'node_modules/.bin/claude-agent-pool')
  expect((await run(command, ['--version'])).stdout.trim()).toBe(version)
  expect((await run('npx', ['--no-install', 'claude-agent-pool', '--help'], { cwd: home })).stdout).toContain(
    'Usage: claude-agent-pool',
  )
})

test('a strict consumer type-checks, our declarations included', async () => {
  const compilerOptions = {
    target: 'ES2024',
    lib: ['ES2024', 'ESNext.Disposable'],
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
    types: ['node'],
    typeRoots: [join(project, 'node_modules/@types')],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
  }
  await writeFile(join(home, 'consumer.ts'), consumer)
  await writeFile(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }))
  const tsc = run(process.execPath, [join(project, 'node_modules/typescript/bin/tsc'), '--pretty', 'false'], {
    cwd: home,
  })
  const { stdout } = await tsc.catch((failure: { stdout: string }) => failure)
  // Declarations of other packages have errors of their own: the MCP SDK's need the DOM.
  const ours = stdout.split('\n').filter((line) => !/^(node_modules\/(?!claude-agent-pool\/)|$)/.test(line))
  expect(ours).toEqual([])
})
