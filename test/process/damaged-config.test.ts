import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openSite, record, say } from '../fixtures/real-pool.ts'

test('A damaged configuration of the CLI costs no turn, and what it said is kept', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const warnings = record(pool, 'warning')
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const config = join(site.dataDir, 'tenants', 'default', 'config')
  for (const [text, prompt, turn] of [
    ['{"numStartups": 7, "pro', 'second', 2],
    ['', 'third', 3],
  ] as const) {
    await session.hibernate()
    await writeFile(join(config, '.claude.json'), text)
    expect(await say(session, prompt)).toEqual({ text: `[turn ${turn}] You said: ${prompt}`, warmth: 'resumed' })
  }
  expect(warnings.map(({ message }) => message)).toEqual(
    Array.from({ length: 2 }, () => expect.stringContaining('damaged')),
  )
  const copies = (await readdir(join(config, 'backups'))).filter((name) => name.includes('corrupted'))
  expect(copies.length).toBeGreaterThan(0)
})
