import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from './command.ts'
import { startPostgres } from '../fixtures/postgres-server.ts'
import type { PostgresServer } from '../fixtures/postgres-server.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

let server: PostgresServer

beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

afterAll(() => server?.[Symbol.asyncDispose]())

test('demo --cluster kills one of three hosts in mid-turn, loses nothing, and leaves nothing behind', async () => {
  const tmp = await temporaryFolder()
  const env = { TMPDIR: tmp, CLAUDE_AGENT_POOL_STORE: server.url('demo') }
  const { code, stdout, stderr, left } = await run(['demo', '--cluster', '--json'], { env })
  expect({ code, stderr, left }).toEqual({ code: 0, stderr: '', left: 0 })
  const report = JSON.parse(stdout) as { silenceMs: number }
  expect(report).toMatchObject({ hosts: 3, prompts: 4, missing: 0, doubled: 0, left: 0, broken: [] })
  expect(report.silenceMs).toBeGreaterThan(0)
  expect(await readdir(tmp)).toEqual([])
  expect(await server.query(`SELECT 1 FROM pg_namespace WHERE nspname LIKE 'demo\\_%'`)).toEqual([])
}, 300_000)

test.each([
  [['--cluster'], '--store: is needed'],
  [['--store', 'postgres://h/db'], '--store: is the database of --cluster'],
  [['--cluster', '--store', 'mysql://h'], 'store.postgres: is not a URL'],
])('demo %j is refused with a reason', async (flags, reason) => {
  const { code, stderr, left } = await run(['demo', ...flags], { cwd: await temporaryFolder() })
  expect({ code, left }).toEqual({ code: 2, left: 0 })
  expect(stderr).toContain(reason)
})
