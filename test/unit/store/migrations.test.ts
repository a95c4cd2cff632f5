import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { SqliteStore } from '../../../src/store/sqlite.ts'
import { event } from '../../conformance/events.ts'
import { record } from '../../conformance/sessions.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const FULL = record('t', 'full', { cwd: '/work', ownsCwd: true, sdkSessionId: 'sdk-1', begun: true, turns: 7 })
const BARE = record('t', 'bare')

/** A file with two sessions, as each past release has left it. Never changed: a new version adds an entry. */
const PAST: Record<number, string> = {
  1: `CREATE TABLE sessions (
    tenant TEXT NOT NULL, key TEXT NOT NULL, uid TEXT NOT NULL, agent TEXT NOT NULL, cwd TEXT, owns_cwd INTEGER NOT NULL,
    sdk_session_id TEXT, begun INTEGER NOT NULL, turns INTEGER NOT NULL, created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL, PRIMARY KEY (tenant, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX sessions_by_sdk_session_id ON sessions (sdk_session_id) WHERE sdk_session_id IS NOT NULL;
  INSERT INTO sessions VALUES
    ('t', 'full', 'uid of t/full', 'assistant', '/work', 1, 'sdk-1', 1, 7, 1000, 2000),
    ('t', 'bare', 'uid of t/bare', 'assistant', NULL, 0, NULL, 0, 0, 1000, 2000);`,
}

test.each(Object.entries(PAST))(
  'a file of version %s is brought up to date with all that is in it',
  async (version, sql) => {
    const folder = await temporaryFolder()
    const path = join(folder, 'pool.sqlite')
    const past = new DatabaseSync(path)
    past.exec(`${sql} PRAGMA user_version = ${version}`)
    past.close()
    for (const opening of [1, 2]) {
      const store = new SqliteStore(path)
      expect(await store.list({ limit: 10 })).toEqual([BARE, FULL])
      expect(await store.findBySdkSessionId('sdk-1')).toEqual(FULL)
      await store.appendEvents(FULL.uid, [event(opening)])
      await store.put(FULL)
      expect((await store.readEvents(FULL.uid, { limit: 10 })).length).toBe(opening)
      await store.close()
    }
  },
)
