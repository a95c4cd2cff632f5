import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const execute = promisify(execFile)
const project = resolve(import.meta.dirname, '../..')
const COPIED = [
  'src',
  'test',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'vitest.config.ts',
  'oxlint.config.ts',
]

/** A code block of CONTRIBUTING.md: a file of its own, or lines that another file takes. */
interface Block {
  language: string
  file: string
  text: string
}

/** The blocks of each example, by its title. */
const examples = new Map<string, Block[]>()
/** A copy of the project with all that the examples add. */
let root = ''

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'additions-'))
  for (const name of COPIED) await cp(join(project, name), join(root, name), { recursive: true })
  await symlink(join(project, 'node_modules'), join(root, 'node_modules'), 'dir')
  const text = await readFile(join(project, 'CONTRIBUTING.md'), 'utf8')
  for (const section of text.split(/^### /m).slice(1)) {
    examples.set(section.slice(0, section.indexOf('\n')), blocksOf(section))
  }
  for (const { language, file, text: body } of [...examples.values()].flat()) {
    const path = join(root, file)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, language === 'diff' ? patched(await readFile(path, 'utf8'), body) : body)
  }
})

afterAll(() => rm(root, { recursive: true, force: true }))

const blocksOf = (section: string): Block[] =>
  [...section.matchAll(/^```(\w+) file=(\S+)\n(.*?)^```/gms)].map(([, language = '', file = '', text = '']) => ({
    language,
    file,
    text,
  }))

/** Each `+` line goes below the line above it, which must be in the file once. */
function patched(text: string, diff: string): string {
  const lines = text.split('\n')
  let at = -1
  for (const line of diff.trimEnd().split('\n')) {
    const [sign, content] = [line[0], line.slice(1)]
    if (sign === '+') {
      at += 1
      lines.splice(at, 0, content)
      continue
    }
    const found = lines.filter((one) => one === content).length
    if (found !== 1)
      throw new Error(`an example of CONTRIBUTING.md names the line "${content}", which is there ${found} times`)
    at = lines.indexOf(content)
  }
  return lines.join('\n')
}

/** Runs a program of the copy. */
async function run(...words: string[]): Promise<string> {
  // A vitest of its own would write its report where that of this run goes.
  const { TEST_REPORT: _, ...env } = process.env
  const { stdout } = await execute(process.execPath, words, { cwd: root, env }).catch(
    (failure: Error & { stdout: string; stderr: string }) => {
      throw new Error(`${words.join(' ')}: ${failure.stdout}${failure.stderr}`, { cause: failure })
    },
  )
  return stdout
}

/** How many files of `src` an example adds, and how many lines other files take. */
const costOf = (title: string): { files: number; lines: number } => {
  const blocks = (examples.get(title) ?? []).filter(({ file }) => file.startsWith('src/'))
  const added = blocks.filter(({ language }) => language === 'diff').flatMap(({ text }) => text.match(/^\+/gm) ?? [])
  return { files: blocks.filter(({ language }) => language === 'ts').length, lines: added.length }
}

test('what the examples of CONTRIBUTING.md add compiles', async () => {
  await run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--noEmit')
})

test('it keeps the rules and borders of the linter', async () => {
  const files = [...new Set([...examples.values()].flat().map(({ file }) => file))]
  expect(files.length).toBeGreaterThan(3)
  await run('node_modules/oxlint/bin/oxlint', ...files)
})

test('a store in one file passes what every store must, with no line elsewhere', async () => {
  expect(costOf('A store')).toEqual({ files: 1, lines: 0 })
  const report = join(root, 'report.json')
  const words = ['run', '--project', 'unit', '--typecheck.enabled=false', '--reporter', 'json', '--outputFile', report]
  await run('node_modules/vitest/vitest.mjs', ...words, 'test/unit/store/log.test.ts')
  const { numPassedTests, ...rest } = JSON.parse(await readFile(report, 'utf8')) as { numPassedTests: number }
  expect(rest).toMatchObject({ success: true, numPendingTests: 0 })
  expect(numPassedTests).toBeGreaterThan(20)
})

/** Prints what the server answers. */
const ASK = `
import { createServer } from './src/server/index.ts'
import { createTestPool } from './src/testing/index.ts'
await using test = await createTestPool({ agents: { a: { model: 'large' }, b: { model: 'small' }, c: { model: 'large' } } })
const server = createServer(test.pool)
const answers = []
for (const path of ['/v1/catalogue', '/v1/catalogue?page=2', '/openapi.json']) {
  const answer = await server.fetch(new Request('http://localhost' + path))
  answers.push({ status: answer.status, body: await answer.json() })
}
server.close()
console.log(JSON.stringify(answers))
`

test('a /v1 endpoint in one file answers and is described, with two lines elsewhere', async () => {
  expect(costOf('A `/v1` endpoint')).toEqual({ files: 1, lines: 2 })
  await writeFile(join(root, 'ask.ts'), ASK)
  const [models, unknown, openapi] = JSON.parse(await run('ask.ts')) as {
    status: number
    body: { paths?: object }
  }[]
  expect(models).toEqual({ status: 200, body: { data: ['large', 'small'].map((id) => ({ type: 'model', id })) } })
  expect(unknown?.status).toBe(400)
  expect(openapi?.body.paths).toHaveProperty(['/v1/catalogue'])
})

/** Two processes are idle, the newer one is larger, and a third session needs the room of one: prints who leaves. */
const EVICT = `
import { createTestPool } from './src/testing/index.ts'
const none = { spares: { max: 0 }, unboundSpares: { max: 0 } }
await using test = await createTestPool({
  agents: { assistant: none },
  limits: { workers: 2 },
  residency: { pattern: process.argv[2] },
})
const left = []
test.pool.on('worker.closed', ({ worker }) => left.push(worker.session))
for (const [key, mib] of [['small', 100], ['large', 300]]) {
  await (await test.pool.session(key, { agent: 'assistant' })).send('Hello').result
  test.driver.processes.at(-1).memoryBytes = mib * 2 ** 20
  await test.clock.advance(5_000)
}
await (await test.pool.session('third', { agent: 'assistant' })).send('Hello').result
console.log(JSON.stringify(left))
`

test('a residency policy in one file says who leaves, with four lines elsewhere', async () => {
  expect(costOf('A residency policy')).toEqual({ files: 1, lines: 4 })
  await writeFile(join(root, 'evict.ts'), EVICT)
  expect(JSON.parse(await run('evict.ts', 'large-first'))).toEqual(['large'])
  expect(JSON.parse(await run('evict.ts', 'hybrid'))).toEqual(['small'])
})

test('a command in one file runs and is in the help, with two lines elsewhere', async () => {
  expect(costOf('A command')).toEqual({ files: 1, lines: 2 })
  const { total, free } = JSON.parse(await run('src/cli/main.ts', 'memory', '--json')) as {
    total: number
    free: number
  }
  expect(free).toBeGreaterThan(0)
  expect(total).toBeGreaterThan(free)
  expect(await run('src/cli/main.ts', '--help')).toContain('Show how much memory this machine has')
})
