import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkout } from './checkout.ts'

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
let source: string
let version: string
let packed: string[]

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'pool-install-'))
  version = (JSON.parse(await readFile(join(project, 'package.json'), 'utf8')) as { version: string }).version
  source = await mkdtemp(join(tmpdir(), 'pool-source-'))
  await checkout(source)
  // Packing builds, from nothing.
  const { stdout } = await run('npm', ['pack', '--json', '--silent', '--pack-destination', home], { cwd: source })
  const [tarball] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string; files: { path: string }[] }]
  packed = tarball.files.map(({ path }) => path)
  await writeFile(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  await run('npm', ['install', ...npmQuietly, join(home, tarball.filename)], { cwd: home })
})

afterAll(() => Promise.all([home, source].map((folder) => rm(folder, { recursive: true, force: true }))))

test('the tarball holds the compiled files, the documentation and what deploys it, and nothing else', () => {
  expect(packed).toContain('dist/index.d.ts')
  expect(packed).toContain('docs/server.md')
  const expected =
    /^(dist\/.*\.(js|d\.ts)|docs\/.*\.(md|svg)|deploy\/.*\.(json|ya?ml|service)|deploy\/Dockerfile(\.dockerignore)?|deploy\/NOTICE|dist\/cli\/chunks\/LICENSES\.txt|dist\/page\/.*\.(html|css|svg|js)|package\.json|LICENSE|(README|CHANGELOG|SECURITY)\.md)$/
  expect(packed.filter((path) => !expected.test(path))).toEqual([])
})

/** A heading as the anchors of Markdown name it. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')

test('every link of the installed documentation leads to a file of the package, and to a heading of it', async () => {
  const root = join(home, 'node_modules/claude-agent-pool')
  const broken: string[] = []
  let links = 0
  for (const page of packed.filter((path) => path.endsWith('.md'))) {
    const text = (await readFile(join(root, page), 'utf8')).replaceAll(/^```[^]*?^```/gm, '')
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      links += 1
      const [path = '', anchor] = target.split('#')
      const place = path === '' ? join(root, page) : join(root, dirname(page), path)
      const found = await stat(place).catch(() => undefined)
      const headings =
        found?.isFile() === true
          ? [...(await readFile(place, 'utf8')).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) => text)
          : []
      if (found === undefined || (anchor !== undefined && !headings.map(anchorOf).includes(anchor)))
        broken.push(`${page}: ${target}`)
    }
  }
  expect(broken).toEqual([])
  expect(links).toBeGreaterThan(40)
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
  expect(stderr).toBe('')
})

test("SQLite's warning is not shown to those who use the library, and all of their own are", async () => {
  const script = `
    const heard = []
    process.on('warning', ({ name, message }) => heard.push(name + ': ' + message))
    process.emitWarning('before', 'ExperimentalWarning')
    const { createPool } = await import('claude-agent-pool')
    process.emitWarning('after', 'ExperimentalWarning')
    setImmediate(() => console.log(JSON.stringify(heard)))
  `
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: home })
  expect(JSON.parse(stdout)).toEqual(['ExperimentalWarning: before', 'ExperimentalWarning: after'])
  expect(stderr).toMatch(/ExperimentalWarning: before[^]*ExperimentalWarning: after/)
  expect(stderr).not.toContain('SQLite')
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

/** Where a runtime is: as the variable says, or by PATH; undefined where it is not installed. */
function runtime(variable: string, name: string): string | undefined {
  const path = process.env[variable] ?? name
  return spawnSync(path, ['--version']).status === 0 ? path : undefined
}

/** Two turns on the simulated model, and what guards the host's processes. */
const smoke = `
  import { readFileSync, readdirSync } from 'node:fs'
  import { createPool } from 'claude-agent-pool'
  import { startSimulator } from 'claude-agent-pool/simulator'
  const simulator = await startSimulator()
  const pool = await createPool({ agents: { a: {} }, dataDir: process.argv[2], api: { baseUrl: simulator.url, key: 'x' }, starts: { timeout: '2m' } })
  const session = await pool.session('one', { agent: 'a' })
  for (const prompt of ['hello', 'again']) console.log((await session.send(prompt).result).result)
  const guards = readdirSync('/proc').filter((pid) => {
    try { return readFileSync('/proc/' + pid + '/cmdline', 'latin1').includes('sentinel.js\\0' + process.pid + '\\0') } catch { return false }
  })
  console.log('guarded by ' + guards.length)
  await pool.close()
  await simulator[Symbol.asyncDispose]()
  console.log('closed')
`

describe.each([
  ['the oldest Node', 'NODE_OLDEST', 'node-oldest', []],
  ['Bun', 'BUN', 'bun', []],
  ['Deno', 'DENO', 'deno', ['run', '--allow-all']],
] as const)('The package under %s', (name, variable, command, words) => {
  const path = runtime(variable, command)
  test.skipIf(path === undefined || process.platform !== 'linux')(
    `runs turns, and is guarded (needs ${name}, by PATH or ${variable})`,
    async () => {
      await writeFile(join(home, 'smoke.mjs'), smoke)
      const { stdout } = await run(path ?? '', [...words, 'smoke.mjs', join(home, `data-${command}`)], { cwd: home })
      expect(stdout.split('\n')).toEqual([
        '[turn 1] You said: hello',
        '[turn 2] You said: again',
        'guarded by 1',
        'closed',
        '',
      ])
    },
  )
})

describe('First contact', () => {
  /** A project as `npm init` makes it: its `.js` and `.ts` files are CommonJS. */
  async function freshProject(files: Record<string, string>): Promise<string> {
    const folder = await mkdtemp(join(home, 'fresh-'))
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'fresh', type: 'commonjs' }))
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
    return folder
  }

  const node = (cwd: string, args: readonly string[], env: Record<string, string> = {}) =>
    run(process.execPath, args, { cwd, env: { PATH: process.env['PATH'] ?? '', HOME: cwd, ...env } }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({ code, stdout, stderr }),
    )

  /** The first program of the README, and the name that it is to be saved under. */
  async function firstProgram(): Promise<{ file: string; program: string; commands: string[] }> {
    const text = await readFile(join(project, 'README.md'), 'utf8')
    const [, file = '', program = '', commands = ''] =
      /Save this as `([^`]+)`:\n+```ts\n(.*?)```.*?```sh\n(.*?)```/s.exec(text) ?? []
    return { file, program, commands: commands.trim().split('\n') }
  }

  test('the program of the README runs as it is pasted, without a key, and goes on when it is run again', async () => {
    const { file, program, commands } = await firstProgram()
    expect(commands).toEqual(['npm install claude-agent-pool @anthropic-ai/claude-agent-sdk', `node ${file}`])
    const cwd = await freshProject({ [file]: program })
    for (const turn of [1, 2]) {
      const { code, stdout, stderr } = await node(cwd, [file])
      expect(stdout).toContain(`[turn ${turn}] You said: Where is my order?`)
      expect([code, stderr]).toEqual([0, ''])
    }
  })

  test('with the lines removed that the README names it asks the real model, and says how to set the key that is missing', async () => {
    const { file, program } = await firstProgram()
    const real = program
      .replaceAll(/^.*(?:startSimulator|model\.close).*\n/gm, '')
      .replace(", api: { baseUrl: model.url, key: 'simulated' }", '')
    expect(real).not.toMatch(/model\.|simul|api/)
    const cwd = await freshProject({ [file]: real })
    const { code, stdout, stderr } = await node(cwd, [file])
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr.match(/^\w*Error\b.*$/gm)).toEqual([
      'AuthenticationError: there is no credential for the model; set ANTHROPIC_API_KEY or api.key, or try the simulated model: npx claude-agent-pool simulate',
    ])
    expect(stderr).not.toContain('/login')
  })

  test('CommonJS may require it', async () => {
    const cwd = await freshProject({ 'first.js': "console.log(typeof require('claude-agent-pool').createPool)" })
    expect(await node(cwd, ['first.js'])).toMatchObject({ code: 0, stdout: 'function\n' })
  })

  test.each([
    ['claude-agent-pool'],
    ['claude-agent-pool/postgres'],
    ['claude-agent-pool/server'],
    ['claude-agent-pool/simulator'],
    ['claude-agent-pool/testing'],
  ])('a Node that is too old is one line that says which is needed: %s', async (entry) => {
    // As an old Node is: without SQLite, and with its own version.
    const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } })`
    const cwd = await freshProject({ 'old.mjs': old, 'first.mjs': `import * as all from '${entry}'\nconsole.log(all)` })
    const { code, stderr } = await node(cwd, ['--no-experimental-sqlite', '--import', './old.mjs', 'first.mjs'])
    expect(code).toBe(1)
    // Node puts errors without a stack in brackets.
    expect(stderr.match(/\w*Error: [^\]\n]*/g)).toEqual([
      'PoolError: Node 22.18.0 or later is needed for claude-agent-pool, and this is 20.19.0; install it from https://nodejs.org',
    ])
  })

  test('and so it is for the command', async () => {
    const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } })`
    const cwd = await freshProject({ 'old.mjs': old })
    const main = join(home, 'node_modules/claude-agent-pool/dist/cli/main.js')
    expect(await node(cwd, ['--no-experimental-sqlite', '--import', './old.mjs', main, 'doctor'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^claude-agent-pool: Node 22\.18\.0 or later is needed for claude-agent-pool[^\n]*\n$/,
      ),
    })
  })
})
