import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { agents, openSite } from '../fixtures/real-pool.ts'
import { run } from './command.ts'

test('report says how traffic goes beside the host and without one, and writes a bundle once', async () => {
  const site = await openSite()
  const at = ['--data-dir', site.dataDir]
  const pool = await site.pool({ agents: agents() })
  pool.suspend()
  const file = join(site.root, 'report.json')
  const refusing = await run(['report', ...at, '--output', file])
  expect([refusing.code, refusing.stdout]).toEqual([
    1,
    expect.stringMatching(/^refusing: The pool is suspended[^]*Why:[^]*Next:\n {2}- run "claude-agent-pool resume"/),
  ])
  const bundle = await readFile(file, 'utf8')
  expect(JSON.parse(bundle)).toMatchObject({
    verdict: { state: 'refusing' },
    host: { stats: { suspended: { pool: true } } },
  })
  expect(bundle).not.toContain(site.root)
  pool.resume()
  const [again, idle] = await Promise.all([run(['report', ...at, '--output', file]), run(['report', ...at, '--json'])])
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('report.json cannot be written')])
  expect([idle.code, JSON.parse(idle.stdout)]).toMatchObject([0, { verdict: { state: 'idle' } }])
  await pool.close()
  const down = await run(['report', ...at])
  expect([down.code, down.stdout]).toEqual([1, expect.stringContaining('No host runs on this data directory')])
}, 120_000)
