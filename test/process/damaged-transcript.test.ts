import { readFile, rm, writeFile } from 'node:fs/promises'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { canMount, disk } from '../fixtures/disk.ts'
import { isWritten, modelAsked, openSite, record, say, transcripts } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'

const CUT_LINE = '{"parentUuid":null,"type":"user","message":{"role":"us'

/** As a kill or a full disk leaves it: the CLI begins its next line anew. */
async function damage(site: Site): Promise<void> {
  for (const file of await transcripts(site.dataDir)) {
    const lines = (await readFile(file, 'utf8')).split('\n')
    lines.splice(Math.floor(lines.length / 2), 0, CUT_LINE)
    lines.splice(-1, 0, CUT_LINE)
    await writeFile(file, lines.join('\n'))
  }
}

test('A session whose transcript has cut lines is resumed and forked, and so is its fork', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('k', { agent: 'a' })
  await say(session, 'one')
  await session.hibernate()
  await damage(site)
  const fork = await session.fork('fork')
  expect((await say(fork, 'two of the fork')).text).toBe('[turn 2] You said: two of the fork')
  expect((await say(session, 'two')).text).toBe('[turn 2] You said: two')
})

test('One that is copied to the store is resumed, exported and forked in spite of cut lines, and its file is made whole', async () => {
  const site = await openSite()
  const pool = await site.pool({ transcripts: 'store' })
  const session = await pool.session('k', { agent: 'a' })
  await say(session, 'one')
  await session.hibernate()
  await damage(site)
  expect((await say(session, 'two')).text).toBe('[turn 2] You said: two')
  const [file = ''] = await transcripts(site.dataDir)
  expect(await readFile(file, 'utf8')).not.toContain(CUT_LINE)
  await session.hibernate()
  await rm(file)
  expect((await say(session, 'three')).text).toBe('[turn 3] You said: three')
})

describe.skipIf(!canMount())('A disk that is full in mid-turn (needs a file system of its own)', () => {
  test('fails the turn, in a new, a live and a resumed process, and what was acknowledged before is there', async () => {
    const site = await openSite()
    const tenant = join(site.dataDir, 'tenants', 'default')
    mkdirSync(tenant, { recursive: true })
    const small = disk(tenant, { mib: 32, inodes: 2_000 })
    const pool = await site.pool()
    const left = record(pool, 'worker.closed')
    const unsafe = record(pool, 'transcript.copyFailed')
    const session = await pool.session('k', { agent: 'a' })
    const full = async (prompt: string, warmth: string): Promise<void> => {
      const turn = session.send(`${prompt}\n@sim delay 1000\n@sim text 64KiB`)
      await modelAsked(site, prompt)
      if (warmth !== 'cold') await isWritten(site, prompt)
      small.fill()
      await expect(turn.result).rejects.toMatchObject({
        name: 'StoreError',
        code: 'disk_full',
        message: expect.stringContaining('Make room'),
      })
      expect(turn.warmth).toBe(warmth)
      small.clear()
    }
    await full('lost from the first', 'cold')
    expect((await say(session, 'one')).text).toMatch(/^\[turn [12]\] You said: one$/)
    await full('lost while live', 'live')
    const next = await say(session, 'two')
    expect(next.warmth).toBe('resumed')
    await session.hibernate()
    await full('lost after a resume', 'resumed')
    await say(session, 'three')
    await session.hibernate()
    await say(session, 'four')
    const last = site.simulator.requests.findLast(({ prompt }) => prompt === 'four')
    for (const words of ['You said: one', 'You said: two', 'You said: three']) {
      expect(JSON.stringify(last?.body)).toContain(words)
    }
    expect(left.map(({ reason }) => reason).filter((reason) => reason === 'transcript')).toHaveLength(3)
    expect(unsafe.filter(({ reason }) => reason === 'turn_not_written')).toHaveLength(3)
  })
})
