import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const project = join(import.meta.dirname, '../../..')

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pool-example-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

test('the example of docs/testing.md passes as it is written', async () => {
  const page = await readFile(join(project, 'docs/testing.md'), 'utf8')
  const [, example = ''] = /```ts\n(.*?)```/s.exec(page) ?? []
  const [imports, body] = example.split("test('a customer is told")
  expect(imports).toBe(
    "import { expect, test } from 'vitest'\nimport { createTestPool } from 'claude-agent-pool/testing'\n\n",
  )
  // Its `test` becomes a function that this test calls: a test cannot be declared within another one.
  const module = [
    `import { createTestPool } from '${join(project, 'src/testing/index.ts')}'`,
    "const { expect } = Reflect.get(globalThis, 'example')",
    'export let run',
    'const test = (_name, body) => { run = body }',
    `test('a customer is told${body}`,
  ].join('\n')
  await writeFile(join(folder, 'example.ts'), module)
  Reflect.set(globalThis, 'example', { expect })
  const { run } = (await import(join(folder, 'example.ts'))) as { run: () => Promise<void> }
  await run()
})

test('what the page names exists', async () => {
  const page = await readFile(join(project, 'docs/testing.md'), 'utf8')
  const sources = await Promise.all(
    ['clock.ts', 'driver.ts', 'memory.ts', 'process.ts', 'test-pool.ts'].map((file) =>
      readFile(join(project, 'src/testing', file), 'utf8'),
    ),
  )
  const names = [...page.matchAll(/`(?:driver\.|clock\.)?([a-z][A-Za-z]+)(?:\(|`)/g)].map(([, name]) => name ?? '')
  const code = sources.join('\n')
  const unknown = names.filter((name) => !new RegExp(`\\b${name}\\b`).test(code))
  expect(unknown.filter((name) => name !== 'cwd')).toEqual([])
})
