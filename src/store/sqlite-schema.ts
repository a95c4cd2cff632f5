import type { DatabaseSync } from 'node:sqlite'
import { StoreError } from '../errors.ts'

/** Each entry brings the schema from the version of its index to the next; only ever append. */
const MIGRATIONS = [
  `CREATE TABLE sessions (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    uid TEXT NOT NULL,
    agent TEXT NOT NULL,
    cwd TEXT,
    owns_cwd INTEGER NOT NULL,
    sdk_session_id TEXT,
    begun INTEGER NOT NULL,
    turns INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX sessions_by_sdk_session_id ON sessions (sdk_session_id) WHERE sdk_session_id IS NOT NULL;`,

  // Events point to their session by a small number, and go with it.
  `ALTER TABLE sessions RENAME TO sessions_before;
  DROP INDEX sessions_by_sdk_session_id;
  CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    uid TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    cwd TEXT,
    owns_cwd INTEGER NOT NULL,
    sdk_session_id TEXT,
    begun INTEGER NOT NULL,
    turns INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    open_turn INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, key)
  ) STRICT;
  INSERT INTO sessions (tenant, key, uid, agent, cwd, owns_cwd, sdk_session_id, begun, turns, created_at, last_used_at)
    SELECT tenant, key, uid, agent, cwd, owns_cwd, sdk_session_id, begun, turns, created_at, last_used_at FROM sessions_before;
  DROP TABLE sessions_before;
  CREATE INDEX sessions_by_sdk_session_id ON sessions (sdk_session_id) WHERE sdk_session_id IS NOT NULL;
  CREATE INDEX sessions_by_creation ON sessions (tenant, created_at, key);
  CREATE INDEX sessions_with_open_turn ON sessions (id) WHERE open_turn = 1;
  CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    number INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    at INTEGER NOT NULL,
    json TEXT NOT NULL,
    UNIQUE (session, number)
  ) STRICT;
  CREATE TABLE transcripts (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    project TEXT NOT NULL,
    sdk_session_id TEXT NOT NULL,
    subpath TEXT NOT NULL,
    written_at INTEGER NOT NULL,
    UNIQUE (tenant, project, sdk_session_id, subpath)
  ) STRICT;
  CREATE INDEX transcripts_by_session ON transcripts (tenant, sdk_session_id);
  CREATE TABLE transcript_entries (
    id INTEGER PRIMARY KEY,
    transcript INTEGER NOT NULL REFERENCES transcripts ON DELETE CASCADE,
    uuid TEXT,
    json TEXT NOT NULL
  ) STRICT;
  CREATE INDEX transcript_entries_in_order ON transcript_entries (transcript);
  CREATE UNIQUE INDEX transcript_entries_by_uuid ON transcript_entries (transcript, uuid) WHERE uuid IS NOT NULL;`,

  `ALTER TABLE sessions ADD COLUMN usage TEXT`,

  // Each session has one owner, and each claim of it a number. Ids of hosts are never given twice.
  `CREATE TABLE hosts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    place TEXT NOT NULL UNIQUE
  ) STRICT;
  ALTER TABLE sessions ADD COLUMN owner INTEGER;
  ALTER TABLE sessions ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;`,
  `CREATE TABLE accounts (
    scope TEXT NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    period TEXT,
    tokens INTEGER NOT NULL DEFAULT 0,
    cost_usd REAL NOT NULL DEFAULT 0,
    budget TEXT,
    PRIMARY KEY (scope, tenant, name)
  ) STRICT, WITHOUT ROWID`,

  // Instead of json, if that is large: compressed, and its bytes before.
  `ALTER TABLE events ADD COLUMN packed BLOB; ALTER TABLE events ADD COLUMN bytes INTEGER`,

  // Lists of all tenants are read page by page: without it, each page sorts all sessions.
  `CREATE INDEX sessions_in_time ON sessions (created_at, tenant, key)`,
] as const

/** How many steps the schema lacks. Throws StoreError for that of a newer release. */
export function schemaAge(database: DatabaseSync, path: string): number {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > MIGRATIONS.length) {
    throw new StoreError(
      `${path} has schema version ${version}, newer than the ${MIGRATIONS.length} of this release; upgrade claude-agent-pool`,
      { code: 'schema_newer' },
    )
  }
  return MIGRATIONS.length - version
}

/** Brings the schema up to date, each step as a whole. Throws StoreError for that of a newer release. */
export function migrate(database: DatabaseSync, path: string): void {
  const version = MIGRATIONS.length - schemaAge(database, path)
  for (const [index, step] of MIGRATIONS.entries()) {
    if (index < version) continue
    database.exec(`BEGIN IMMEDIATE; ${step}; PRAGMA user_version = ${index + 1}; COMMIT`)
  }
}
