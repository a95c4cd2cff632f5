import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { SqliteStore } from '../../../src/store/sqlite.ts'
import { event } from '../../conformance/events.ts'
import { OneHost } from '../../conformance/one-host.ts'
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
  3: `CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, key TEXT NOT NULL, uid TEXT NOT NULL UNIQUE, agent TEXT NOT NULL,
    cwd TEXT, owns_cwd INTEGER NOT NULL, sdk_session_id TEXT, begun INTEGER NOT NULL, turns INTEGER NOT NULL,
    created_at INTEGER NOT NULL, last_used_at INTEGER NOT NULL, open_turn INTEGER NOT NULL DEFAULT 0, usage TEXT,
    UNIQUE (tenant, key)
  ) STRICT;
  CREATE INDEX sessions_by_sdk_session_id ON sessions (sdk_session_id) WHERE sdk_session_id IS NOT NULL;
  CREATE INDEX sessions_by_creation ON sessions (tenant, created_at, key);
  CREATE INDEX sessions_with_open_turn ON sessions (id) WHERE open_turn = 1;
  CREATE TABLE events (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE, number INTEGER NOT NULL,
    event_id TEXT NOT NULL, type TEXT NOT NULL, at INTEGER NOT NULL, json TEXT NOT NULL, UNIQUE (session, number)
  ) STRICT;
  CREATE TABLE transcripts (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, project TEXT NOT NULL, sdk_session_id TEXT NOT NULL,
    subpath TEXT NOT NULL, written_at INTEGER NOT NULL, UNIQUE (tenant, project, sdk_session_id, subpath)
  ) STRICT;
  CREATE INDEX transcripts_by_session ON transcripts (tenant, sdk_session_id);
  CREATE TABLE transcript_entries (
    id INTEGER PRIMARY KEY, transcript INTEGER NOT NULL REFERENCES transcripts ON DELETE CASCADE, uuid TEXT,
    json TEXT NOT NULL
  ) STRICT;
  CREATE INDEX transcript_entries_in_order ON transcript_entries (transcript);
  CREATE UNIQUE INDEX transcript_entries_by_uuid ON transcript_entries (transcript, uuid) WHERE uuid IS NOT NULL;
  INSERT INTO sessions VALUES
    (1, 't', 'full', 'uid of t/full', 'assistant', '/work', 1, 'sdk-1', 1, 7, 1000, 2000, 0, NULL),
    (2, 't', 'bare', 'uid of t/bare', 'assistant', NULL, 0, NULL, 0, 0, 1000, 2000, 1, NULL);
  INSERT INTO events VALUES (1, 2, 1, 'event 1', 'user.message', 1001, '{"number":1}');`,
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
      const host = await OneHost.of(store)
      await host.claim(FULL.uid)
      await host.appendEvents(FULL.uid, [event(opening)])
      await host.put(FULL)
      expect((await store.readEvents(FULL.uid, { limit: 10 })).length).toBe(opening)
      await store.close()
    }
  },
)

test('A turn that a host of an earlier release left open is taken over, once', async () => {
  const path = join(await temporaryFolder(), 'pool.sqlite')
  const past = new DatabaseSync(path)
  past.exec(`${PAST[3]} PRAGMA user_version = 3`)
  past.close()
  const store = new SqliteStore(path)
  const owner = await store.register('here')
  const claim = { uid: BARE.uid, owner, fence: 1 }
  expect(await store.adopt(owner, 10)).toEqual([{ claim, record: BARE, lastEvent: 1, openTurn: true }])
  expect(await store.adopt(owner, 10)).toEqual([])
  await store.appendEvents(claim, [event(2)], 'closed')
  expect(await store.adopt(await store.register('here'), 10)).toEqual([])
  await store.close()
})
