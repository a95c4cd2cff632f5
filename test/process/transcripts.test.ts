import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { StoreError } from '../../src/errors.ts'
import { SqliteStore } from '../../src/store/sqlite.ts'
import { event, openSite, record, say, transcripts, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const SPARELESS = { spares: { max: 0 }, unboundSpares: { max: 0 } }

/** A store that does not take transcripts until it is told to. */
class FickleStore extends SqliteStore {
  refuses = false

  override appendTranscript(...words: Parameters<SqliteStore['appendTranscript']>): Promise<void> {
    if (this.refuses) return Promise.reject(new StoreError('the store is away'))
    return super.appendTranscript(...words)
  }
}

/** Removes what the CLI keeps of all conversations. */
const removeLocal = ({ dataDir }: Pick<Site, 'dataDir'>): Promise<void> =>
  rm(join(dataDir, 'tenants', 'default', 'config', 'projects'), { recursive: true, force: true })

test('A session whose files are gone is resumed from the store, also by the next host', async () => {
  const site = await openSite()
  const first = await site.pool({ transcripts: 'store' })
  const s = await first.session('k', { agent: 'a' })
  await say(s, 'one')
  await s.hibernate()
  await removeLocal(site)
  expect(await say(s, 'two')).toEqual({ text: '[turn 2] You said: two', warmth: 'resumed' })
  await first.close()
  await removeLocal(site)
  const second = await site.pool({ transcripts: 'store' })
  expect((await say(await second.session('k'), 'three')).text).toBe('[turn 3] You said: three')
  expect((await transcripts(site.dataDir)).length).toBe(1)
})

test.runIf(WHOLE)(
  'A session whose files are gone is exported from the store, and what is imported is copied there',
  async () => {
    const site = await openSite()
    const here = await site.pool({ transcripts: 'store' })
    await say(await here.session('k', { agent: 'a' }), 'one')
    await here.close()
    await removeLocal(site)
    // As the command line does where no host runs: it need not know how the sessions were kept.
    const exporting = await site.pool()
    const elsewhere = join(site.root, 'elsewhere')
    const there = await site.pool({ transcripts: 'store', dataDir: elsewhere })
    const session = await there.importSession(exporting.exportSession('k'))
    await removeLocal({ dataDir: elsewhere })
    expect(await say(session, 'two')).toEqual({ text: '[turn 2] You said: two', warmth: 'resumed' })
  },
)

test.runIf(WHOLE)('Spares copy from their first turn on, and a fork has all of its conversation', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const agents = { a: { spares: { min: 1, max: 1 }, unboundSpares: { min: 1, max: 1 } } }
  const pool = await site.pool({ transcripts: 'store', agents })
  await until(() => expect(pool.stats().workers.spares).toBe(2))
  const bound = await pool.session('bound', { agent: 'a' })
  const claimed = await pool.session('claimed', { agent: 'a', cwd })
  expect(await say(bound, 'one')).toMatchObject({ warmth: 'spare' })
  expect(await say(claimed, 'one')).toMatchObject({ warmth: 'spare' })
  const fork = await bound.fork('fork')
  for (const session of [bound, claimed]) await session.hibernate()
  await removeLocal(site)
  for (const session of [bound, claimed, fork]) {
    expect((await say(session, 'two')).text).toBe('[turn 2] You said: two')
  }
})

test.runIf(WHOLE)('What the store refuses keeps the worker until it is copied', async () => {
  const site = await openSite()
  const store = new FickleStore(join(site.root, 'own.sqlite'))
  const pool = await site.pool({
    transcripts: 'store',
    store,
    agents: { a: SPARELESS },
    residency: { idleTtl: '1s', pattern: 'hybrid' },
  })
  const s = await pool.session('k', { agent: 'a' })
  await say(s, 'one')
  store.refuses = true
  const unsafe = event(pool, 'transcript.copyFailed')
  await say(s, 'two')
  expect(await unsafe).toMatchObject({ session: { key: 'k' }, reason: 'mirror_error' })
  const safe = event(pool, 'transcript.recopied')
  const left = record(pool, 'worker.closed')
  await until(() => expect(pool.workers()[0]?.pinnedBy).toMatchObject({ transcript: true }))
  store.refuses = false
  await safe
  await until(() => expect(left.length).toBe(1))
  await removeLocal(site)
  expect((await say(s, 'three')).text).toBe('[turn 3] You said: three')
})

test.runIf(WHOLE)('A deleted session leaves no copy', async () => {
  const site = await openSite()
  const store = new SqliteStore(join(site.root, 'own.sqlite'))
  const pool = await site.pool({ transcripts: 'store', store })
  const s = await pool.session('k', { agent: 'a' })
  await say(s, 'one')
  const { sdkSessionId = '', cwd = '' } = await s.info()
  const key = { tenant: 'default', project: cwd.replaceAll(/[^a-zA-Z0-9]/g, '-'), sdkSessionId }
  await until(async () => expect(await store.loadTranscript(key)).toBeDefined())
  await s.delete()
  expect(await store.loadTranscript(key)).toBeUndefined()
})
