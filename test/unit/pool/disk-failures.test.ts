import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { SqliteStore } from '../../../src/store/sqlite.ts'
import { event } from '../../conformance/events.ts'
import { OneHost } from '../../conformance/one-host.ts'
import { record } from '../../conformance/sessions.ts'
import { canMount, disk } from '../../fixtures/disk.ts'
import { NO_SPARES, answer, fakes } from '../../fixtures/fakes.ts'

const sound = (path: string): unknown => {
  const database = new DatabaseSync(path)
  try {
    return database.prepare('PRAGMA integrity_check').get()
  } finally {
    database.close()
  }
}

describe.skipIf(!canMount())('On a disk of its own (needs the right to mount)', () => {
  test('a full disk fails the turn by name; with room again all goes on, and nothing is lost', async () => {
    const { path, fill, clear } = disk()
    const store = new SqliteStore(join(path, 'pool.sqlite'))
    const { session, pool } = await fakes({ store, agents: { assistant: NO_SPARES } })
    const before = await session('before')
    await before.send('Hello').result
    // SQLite writes into what its log had taken before, so the first failure may be a few turns away.
    fill()
    const errors: unknown[] = []
    for (let index = 0; index < 200 && errors.length === 0; index += 1) {
      await session(`k${index}`).catch((error: unknown) => errors.push(error))
    }
    expect(errors).toMatchObject([
      { name: 'StoreError', code: 'disk_full', message: expect.stringContaining('make room') },
    ])
    clear()
    expect(await answer(before.send('And again'))).toBe('[turn 2] You said: And again')
    const fresh = await session('fresh')
    expect(await answer(fresh.send('Hi'))).toBe('[turn 1] You said: Hi')
    await pool.close()
    expect(sound(join(path, 'pool.sqlite'))).toEqual({ integrity_check: 'ok' })
    const again = new SqliteStore(join(path, 'pool.sqlite'))
    expect((await again.get('default', 'before'))?.turns).toBe(2)
    expect((await again.get('default', 'fresh'))?.turns).toBe(1)
    await again.close()
  })

  test('events that found no room are not there, and the next ones are', async () => {
    const { path, fill, clear } = disk()
    const store = new SqliteStore(join(path, 'pool.sqlite'))
    const host = await OneHost.of(store)
    await host.put(record('t', 'k', { uid: 'u' }))
    fill()
    let number = 0
    const failed = async (): Promise<unknown> => {
      for (;;) {
        try {
          await host.appendEvents('u', [event(number + 1)])
          number += 1
        } catch (error) {
          return error
        }
      }
    }
    expect(await failed()).toMatchObject({ name: 'StoreError', code: 'disk_full' })
    expect((await store.eventTotals('u')).last).toBe(number)
    clear()
    await host.appendEvents('u', [event(number + 1)])
    expect((await store.eventTotals('u')).last).toBe(number + 1)
    await store.close()
    expect(sound(join(path, 'pool.sqlite'))).toEqual({ integrity_check: 'ok' })
  })

  test('a workspace that cannot be made fails the turn by name, and the next turn makes it', async () => {
    const { path, fill, clear } = disk()
    const { session } = await fakes({ dataDir: path, agents: { assistant: NO_SPARES } })
    const handle = await session('k')
    fill()
    await expect(handle.send('Hello').result).rejects.toMatchObject({ name: 'StoreError', code: 'disk_full' })
    clear()
    expect(await answer(handle.send('Hello'))).toBe('[turn 1] You said: Hello')
  })

  test('a read-only disk is named, and once it can be written all is there', async () => {
    const { path, remount } = disk()
    const file = join(path, 'pool.sqlite')
    const store = new SqliteStore(file)
    await (await OneHost.of(store)).put(record('default', 'k', { uid: 'u' }))
    await store.close()
    remount('ro')
    const readOnly = { name: 'StoreError', code: 'read_only' }
    expect(() => new SqliteStore(file)).toThrow(expect.objectContaining(readOnly))
    await expect(fakes({ dataDir: path })).rejects.toMatchObject(readOnly)
    remount('rw')
    const again = new SqliteStore(file)
    expect((await again.get('default', 'k'))?.uid).toBe('u')
    await again.close()
  })
})

describe('A corrupt file', () => {
  const folder = (): string => {
    const path = mkdtempSync(join(tmpdir(), 'pool-corrupt-'))
    onTestFinished(() => rmSync(path, { recursive: true }))
    return path
  }

  test('is refused when it is opened, and the error says what to do', async () => {
    const path = join(folder(), 'pool.sqlite')
    writeFileSync(path, 'not a database, and long enough to be taken for one'.repeat(100))
    expect(() => new SqliteStore(path)).toThrow(
      expect.objectContaining({ code: 'corrupt', message: expect.stringContaining('put a backup in its place') }),
    )
  })

  test('fails by name what needs the bad part, and nothing else', async () => {
    const path = join(folder(), 'pool.sqlite')
    const store = new SqliteStore(path)
    const host = await OneHost.of(store)
    await host.put(record('t', 'k', { uid: 'u' }))
    await host.appendEvents(
      'u',
      Array.from({ length: 1_000 }, (_, index) => event(index + 1)),
    )
    await store.close()
    const bytes = readFileSync(path)
    // The first page has the schema; of the others every second is spoiled.
    for (let page = 1; page * 4096 < bytes.length; page += 1) {
      if (page % 2 === 0) bytes.fill(0xff, page * 4096, (page + 1) * 4096)
    }
    writeFileSync(path, bytes)
    const damaged = new SqliteStore(path)
    await expect(damaged.readEvents('u', { limit: 2_000 })).rejects.toMatchObject({
      name: 'StoreError',
      code: 'corrupt',
    })
    await damaged.close().catch(() => undefined)
  })
})
