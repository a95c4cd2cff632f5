import { execFile } from 'node:child_process'
import { copyFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { served } from '../fixtures/server.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const project = resolve(import.meta.dirname, '../..')
const run = promisify(execFile)

/** The generator wants an older TypeScript than this project has, so that it is installed in a place of its own. */
const GENERATOR = join(import.meta.dirname, 'generated-client')

/** What somebody writes with the generated types. */
const client = `
import createClient from 'openapi-fetch'
import type { paths } from './api.js'

const client = createClient<paths>({ baseUrl: 'http://127.0.0.1:8080', headers: { 'x-api-key': 'key' } })

export async function work(): Promise<number> {
  const { data: pressure } = await client.GET('/pressure')
  const { error } = await client.POST('/v1/sessions', {
    body: { agent: 'agent_assistant', environment_id: 'env_local', title: 'Mine' },
  })
  if (error !== undefined) throw new Error(\`\${error.error.type}: \${error.error.message} (\${error.request_id})\`)
  await client.GET('/v1/sessions', { params: { query: { limit: '10', order: 'asc' } } })
  await client.POST('/v1/sessions/{id}/events', {
    params: { path: { id: 'sesn_1' } },
    body: { events: [{ type: 'user.message', content: [{ type: 'text', text: 'hello' }] }] },
  })
  const path = { id: 'ada' }
  await client.POST('/sessions/{id}/messages', { params: { path }, body: { prompt: 'hello' }, parseAs: 'stream' })
  await client.POST('/ag-ui/{agent}', {
    params: { path: { agent: 'support' } },
    body: { threadId: 'ada', runId: 'r1', messages: [{ id: 'm1', role: 'user', content: 'hello' }], tools: [], context: [] },
    parseAs: 'stream',
  })
  // @ts-expect-error: a prompt is a text
  await client.POST('/sessions/{id}/messages', { params: { path }, body: { prompt: 1 } })
  // @ts-expect-error: there is no such path
  await client.GET('/v1/nothing')
  return pressure?.running ?? 0
}
`

test('a client generated from /openapi.json type-checks', async () => {
  const home = await temporaryFolder()
  for (const file of ['package.json', 'package-lock.json']) await copyFile(join(GENERATOR, file), join(home, file))
  await run('npm', ['ci', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel', 'error'], { cwd: home })
  const { ask } = await served()
  await writeFile(join(home, 'openapi.json'), await (await ask('GET', '/openapi.json')).text())
  const generator = join(home, 'node_modules/openapi-typescript/bin/cli.js')
  await run(process.execPath, [generator, 'openapi.json', '--output', 'api.d.ts'], { cwd: home })
  const compilerOptions = {
    target: 'ES2024',
    lib: ['ES2024', 'DOM'],
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
  }
  await writeFile(join(home, 'client.ts'), client)
  await writeFile(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['client.ts'] }))
  const compiler = join(project, 'node_modules/typescript/bin/tsc')
  const checked = run(process.execPath, [compiler, '--pretty', 'false'], { cwd: home })
  expect(await checked.catch(({ stdout }: { stdout: string }) => stdout)).toMatchObject({ stdout: '' })
})
