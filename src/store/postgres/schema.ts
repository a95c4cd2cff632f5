import { StoreError } from '../../errors.ts'
import type { Connections } from './connections.ts'
import { LONG_QUERY_MS } from './connections.ts'

/**
 * Each entry brings the schema from the version of its index to the next; only ever append. A release and the one before run side
 * by side: a step adds, and never removes or renames. Text of callers sorts by code point, as everywhere else: COLLATE "C".
 */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE pool.hosts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    place text NOT NULL,
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'draining', 'gone'))
  );
  CREATE INDEX hosts_by_place ON pool.hosts (place) WHERE state <> 'gone';
  CREATE TABLE pool.sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    uid text COLLATE "C" NOT NULL UNIQUE,
    agent text NOT NULL,
    cwd text,
    owns_cwd boolean NOT NULL,
    sdk_session_id text COLLATE "C",
    begun boolean NOT NULL,
    turns bigint NOT NULL,
    usage text,
    created_at bigint NOT NULL,
    last_used_at bigint NOT NULL,
    open_turn boolean NOT NULL DEFAULT false,
    last_number bigint NOT NULL DEFAULT 0,
    owner bigint REFERENCES pool.hosts,
    fence bigint NOT NULL DEFAULT 0,
    UNIQUE (tenant, key)
  );
  CREATE INDEX sessions_by_sdk_session_id ON pool.sessions (sdk_session_id) WHERE sdk_session_id IS NOT NULL;
  CREATE INDEX sessions_by_creation ON pool.sessions (tenant, created_at, key);
  CREATE INDEX sessions_with_open_turn ON pool.sessions (id) WHERE open_turn;
  CREATE INDEX sessions_by_owner ON pool.sessions (owner) WHERE owner IS NOT NULL;
  CREATE TABLE pool.events (
    session bigint NOT NULL REFERENCES pool.sessions ON DELETE CASCADE,
    number bigint NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    at bigint NOT NULL,
    json text NOT NULL,
    PRIMARY KEY (session, number)
  );
  CREATE TABLE pool.transcripts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    project text COLLATE "C" NOT NULL,
    sdk_session_id text COLLATE "C" NOT NULL,
    subpath text COLLATE "C" NOT NULL,
    written_at bigint NOT NULL,
    batch text NOT NULL,
    UNIQUE (tenant, project, sdk_session_id, subpath)
  );
  CREATE INDEX transcripts_by_session ON pool.transcripts (tenant, sdk_session_id);
  CREATE TABLE pool.transcript_entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transcript bigint NOT NULL REFERENCES pool.transcripts ON DELETE CASCADE,
    uuid text COLLATE "C",
    json text NOT NULL
  );
  CREATE INDEX transcript_entries_in_order ON pool.transcript_entries (transcript, id);
  CREATE UNIQUE INDEX transcript_entries_by_uuid ON pool.transcript_entries (transcript, uuid) WHERE uuid IS NOT NULL;
  CREATE TABLE pool.accounts (
    scope text NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    period text,
    tokens bigint NOT NULL DEFAULT 0,
    cost_usd double precision NOT NULL DEFAULT 0,
    budget text,
    PRIMARY KEY (scope, tenant, name)
  );
  CREATE TABLE pool.spendings (
    id text PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,

  // A host without a time to live is gone only when the next one at its place starts.
  `ALTER TABLE pool.hosts ADD COLUMN version text;
  ALTER TABLE pool.hosts ADD COLUMN ttl_ms integer;
  ALTER TABLE pool.hosts ADD COLUMN beat_at timestamptz;
  ALTER TABLE pool.hosts ADD COLUMN steady_since timestamptz;
  ALTER TABLE pool.hosts ADD COLUMN running integer NOT NULL DEFAULT 0;
  ALTER TABLE pool.hosts ADD COLUMN waiting integer NOT NULL DEFAULT 0;
  ALTER TABLE pool.hosts ADD COLUMN free integer NOT NULL DEFAULT 0;
  CREATE INDEX hosts_that_are_there ON pool.hosts (id) WHERE state <> 'gone'`,
]

const OLDEST_SERVER = 140_000

/** Codes of what another host has made at the same time: a table, a schema, a row of the catalogue. */
const MADE_MEANWHILE: ReadonlySet<string> = new Set(['42P07', '42P06', '23505'])

/** Makes the table whose rows are the locks of jobs that one host does at a time. */
async function makeJobs(connections: Connections): Promise<void> {
  for (const text of [
    `CREATE SCHEMA IF NOT EXISTS "${connections.schema}"`,
    'CREATE TABLE IF NOT EXISTS pool.jobs (name text PRIMARY KEY, version bigint NOT NULL DEFAULT 0, needs bigint NOT NULL DEFAULT 0)',
    `INSERT INTO pool.jobs (name) VALUES ('schema') ON CONFLICT DO NOTHING`,
  ]) {
    await connections.persist(() =>
      connections.once({ text }).catch((error: unknown) => {
        const { code } = (error as Error).cause as { code?: string }
        if (!MADE_MEANWHILE.has(code ?? '')) throw error
        return []
      }),
    )
  }
}

/** The version of a schema, and the least version that a release must know to use it. */
interface Version {
  version: number
  needs: number
}

async function versionOf(connections: Connections): Promise<Version | undefined> {
  const [found] = await connections.persist(() =>
    connections.once<{ there: boolean }>({
      text: `SELECT to_regclass('pool.jobs') IS NOT NULL AS there`,
    }),
  )
  if (found?.there !== true) return undefined
  const text = `SELECT version, needs FROM pool.jobs WHERE name = 'schema'`
  const [row] = await connections.persist(() => connections.once<Version>({ text }))
  return row
}

/** Throws StoreError for a schema that a newer release has changed so that this one cannot use it. */
function checkVersion({ needs }: Version, { place, schema }: Connections): void {
  if (needs <= MIGRATIONS.length) return
  throw new StoreError(
    `${place} has the schema "${schema}", which needs a release with version ${needs}, newer than the ${MIGRATIONS.length} of this one; upgrade claude-agent-pool`,
  )
}

/** Throws StoreError for a server that is too old, or a database in another encoding than UTF-8. */
async function checkServer(connections: Connections): Promise<void> {
  const text = `SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding`
  const rows = await connections.persist(() => connections.once<{ version: number; encoding: string }>({ text }), {
    outageMs: OPENING_MS,
  })
  const [{ version, encoding } = { version: 0, encoding: '' }] = rows
  if (version < OLDEST_SERVER)
    throw new StoreError(`${connections.place} is PostgreSQL ${Math.floor(version / 10_000)}; 14 or later is needed`)
  if (encoding !== 'UTF8')
    throw new StoreError(`${connections.place} has the encoding ${encoding}; make a database with ENCODING 'UTF8'`)
}

/** A program that starts tells soon that its database cannot be reached. */
const OPENING_MS = 5_000

/** Brings the schema up to date, all steps as a whole, one host at a time. Throws StoreError for that of a newer release. */
export async function migrate(connections: Connections): Promise<void> {
  await checkServer(connections)
  const before = await versionOf(connections)
  if (before === undefined) await makeJobs(connections)
  else checkVersion(before, connections)
  // That of the next release has all of this one.
  if (before !== undefined && before.version >= MIGRATIONS.length) return
  await connections.persist(() =>
    connections.session(async (run) => {
      await run({ text: 'BEGIN' })
      // Held until the end of the transaction, also by a host that dies in it.
      const text = `SELECT version, needs FROM pool.jobs WHERE name = 'schema' FOR UPDATE`
      const [row = { version: 0, needs: 0 }] = await run<Version>({ text, timeoutMs: LONG_QUERY_MS })
      checkVersion(row, connections)
      for (const step of MIGRATIONS.slice(row.version)) await run({ text: step, timeoutMs: LONG_QUERY_MS })
      await run({
        text: `UPDATE pool.jobs SET version = greatest(version, $1) WHERE name = 'schema'`,
        values: [MIGRATIONS.length],
      })
      await run({ text: 'COMMIT' })
    }),
  )
}
