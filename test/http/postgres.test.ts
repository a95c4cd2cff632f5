import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { startSimulator } from '../../src/simulator/server.ts'
import type { Simulator } from '../../src/simulator/server.ts'
import { Command, run } from '../cli/command.ts'
import { placesOf } from '../fixtures/credentials.ts'
import { unpackOldData } from '../fixtures/old-data/unpack.ts'
import { startOwnPostgres } from '../fixtures/postgres-server.ts'
import type { OwnServer } from '../fixtures/postgres-server.ts'
import { Frames } from '../fixtures/server.ts'
import type { Frame } from '../fixtures/server.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { post, serve } from './serving.ts'
import type { Serving } from './serving.ts'

const AGENT = 'spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5, allowedTools: [Bash]'

const password = `pw-secret-${randomBytes(16).toString('hex')}`

let server: OwnServer

beforeAll(async () => {
  server = await startOwnPostgres({ password })
}, 120_000)

afterAll(() => server?.[Symbol.asyncDispose]())

async function model(): Promise<Simulator> {
  const simulator = await startSimulator()
  onTestFinished(() => simulator.close())
  return simulator
}

async function ask(serving: Serving, prompt: string): Promise<string> {
  const frames: Frame[] = await new Frames(await post(serving, 'ada', prompt)).rest()
  const results = frames.map(({ data }) => data as { type?: string; result?: string })
  return results.find(({ type }) => type === 'result')?.result ?? JSON.stringify(frames.at(-1))
}

test('A server keeps its sessions in PostgreSQL, and shows its password nowhere', async () => {
  const { url: api } = await model()
  const config = `agents: { a: { ${AGENT} } }\napi: { baseUrl: '${api}', key: simulated }`
  const env = { CLAUDE_AGENT_POOL_STORE: server.url('serve') }
  const first = await serve(config, { env })
  const search = 'cat /proc/*/environ /proc/*/cmdline 2>/dev/null | grep -ao "pw-secret-[0-9a-f]\\{32\\}" | sort -u'
  const shown = await ask(first, `@sim bash env; ${search}`)
  expect(shown).toContain('CLAUDE_CONFIG_DIR')
  expect(shown).not.toContain(password)
  expect(shown).not.toContain('CLAUDE_AGENT_POOL_STORE')
  expect(await placesOf(password, [first.folder])).toEqual([])
  const doctor = await run(['doctor', '--json'], { cwd: first.folder, env })
  const listed = await run(['sessions', 'list', '--json'], { cwd: first.folder, env })
  expect(JSON.parse(listed.stdout)).toMatchObject([{ key: 'ada', turns: 1, state: 'idle' }])
  first.command.child.kill('SIGTERM')
  const ended = await first.command.ended
  expect(ended.code).toBe(0)
  for (const said of [ended.stdout, ended.stderr, doctor.stdout, doctor.stderr]) expect(said).not.toContain(password)
  expect(await server.query(`SELECT key, turns::int FROM serve.sessions`)).toEqual([{ key: 'ada', turns: 1 }])
  expect(await server.query(`SELECT state FROM serve.hosts WHERE state <> 'gone'`)).toEqual([])
})

test('A password comes from a file beside the config, and the next host goes on with the sessions', async () => {
  const { url: api } = await model()
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'password'), `${password}\n`, { mode: 0o600 })
  const url = new URL(server.url('file'))
  url.password = ''
  const config = `agents: { a: { ${AGENT} } }
api: { baseUrl: '${api}', key: simulated }
store: { postgres: '${url.href}', passwordFile: password }`
  const first = await serve(config, { folder })
  expect(await ask(first, 'hello')).toBe('[turn 1] You said: hello')
  first.command.child.kill('SIGKILL')
  await first.command.ended
  const next = await serve(config, { folder })
  expect(await ask(next, 'again')).toBe('[turn 2] You said: again')
})

test('A password in --store is warned of, and a database that cannot be reached is named without it', async () => {
  const cwd = await temporaryFolder()
  const env = { CLAUDE_AGENT_POOL_PORT: '0' }
  const warned = new Command(['serve', '--store', 'postgres://user:hunter2@127.0.0.1:1/db', '--log-level', 'info'], {
    cwd,
    env,
  })
  const { code, stdout, stderr } = await warned.ended
  expect(code).toBe(1)
  expect(stdout + stderr).toContain('every process of this machine sees the password of --store')
  expect(stdout + stderr).toContain('postgres://user@127.0.0.1:1/db: connect ECONNREFUSED 127.0.0.1:1')
  expect(stdout + stderr).not.toContain('hunter2')
})

test('serve --migrate-only makes the schema, and commands on hosts do not', async () => {
  const cwd = await temporaryFolder()
  const env = { CLAUDE_AGENT_POOL_STORE: server.url('migrated') }
  const early = await run(['hosts'], { cwd, env })
  expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('no host was ever started')])
  const made = await run(['serve', '--migrate-only'], { cwd, env })
  expect([made.code, made.stdout]).toEqual([0, expect.stringMatching(/"migrated" was made\. It has version \d/)])
  expect(made.stdout + made.stderr).not.toContain(password)
  const hosts = await run(['hosts', '--json'], { cwd, env })
  expect([hosts.code, hosts.stdout.trim()]).toEqual([0, '[]'])
})

test('store copy brings a data directory of an earlier release into the database, and another host goes on with it', async () => {
  const { root, local } = unpackOldData()
  onTestFinished(() => rm(root, { recursive: true, force: true, maxRetries: 3 }))
  const [dir, cwd] = [join(root, 'local'), await temporaryFolder()]
  await writeFile(join(cwd, 'password'), password, { mode: 0o600 })
  const url = new URL(server.url('copied'))
  url.password = ''
  const env = { CLAUDE_AGENT_POOL_STORE_PASSWORD_FILE: join(cwd, 'password') }
  const copied = await run(['store', 'copy', '--from', dir, '--to', url.href], { cwd, env })
  expect([copied.code, copied.stderr]).toEqual([0, ''])
  expect(copied.stdout).toContain(`Done: ${local.length} sessions.`)
  expect(copied.stdout).not.toContain(password)
  const again = await run(['store', 'copy', '--from', dir, '--to', url.href], { cwd, env })
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('is not empty: it has sessions')])
  const { url: api } = await model()
  const config = `agents: { plain: { ${AGENT} } }\napi: { baseUrl: '${api}', key: simulated }\nstore: { postgres: '${url.href}' }`
  const serving = await serve(config, { env })
  const old = local.find(
    ({ tenant, key, agent }) => tenant === 'default' && agent === 'plain' && !key.startsWith('sesn_'),
  )
  const frames = await new Frames(await post(serving, old?.key ?? '', 'hello again')).rest()
  const turn = Number(/^\[turn (\d+)\]/.exec(old?.last ?? '')?.[1]) + 1
  const results = frames.map(({ data }) => (data as { result?: string }).result)
  expect(results).toContain(`[turn ${turn}] You said: hello again`)
})

test('store copy warns of a password in an address, and shows it nowhere', async () => {
  const cwd = await temporaryFolder()
  const words = ['store', 'copy', '--from', 'postgres://user:hunter2@127.0.0.1:1/db', '--to', 'back']
  const { code, stdout, stderr } = await run(words, { cwd })
  expect(code).toBe(1)
  expect(stderr).toContain('every process of this machine sees the password')
  expect(stdout + stderr).not.toContain('hunter2')
})
