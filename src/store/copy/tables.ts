/** A value as both databases have it. True is 1. */
export type Value = string | number | null

/** Values in the order of a table's columns. */
export type Row = Value[]

interface Column {
  name: string
  /** In PostgreSQL. */
  type: 'text' | 'bigint' | 'integer' | 'boolean' | 'double precision' | 'timestamptz'
  /** PostgreSQL has it with escapes, and SQLite as it is. */
  isEscaped?: true
}

/** Where a database has a table. */
interface Place {
  from: string
  /** What stands for a column if its name does not. */
  values?: Readonly<Record<string, string>>
  /** What tells rows apart, and the order in which they are read. */
  cursor: readonly string[]
}

/** One table, as it is copied. What belongs to a host is left out: owners of sessions, hosts, jobs. */
export interface CopyTable {
  name: string
  columns: readonly Column[]
  /** The column with large text. */
  large?: string
  /** Rows follow upon one another, in as many lists as there are different values of so many first columns. */
  listsBy?: number
  sqlite: Place & { file: 'pool' | 'api'; insert: string }
  postgres: Place & { insert: string }
}

const text = (...names: string[]): Column[] => names.map((name) => ({ name, type: 'text' }))
const escaped = (...names: string[]): Column[] => names.map((name) => ({ name, type: 'text', isEscaped: true }))
const whole = (...names: string[]): Column[] => names.map((name) => ({ name, type: 'bigint' }))
const flag = (...names: string[]): Column[] => names.map((name) => ({ name, type: 'boolean' }))

/** One whose columns both databases have under the same names. */
function plain(
  name: string,
  columns: readonly Column[],
  { file, sqlite = name, postgres = name, cursor, postgresCursor = cursor, large }: Plain,
): CopyTable {
  const names = columns.map((column) => column.name).join(', ')
  return {
    name,
    columns,
    ...(large === undefined ? {} : { large }),
    sqlite: {
      file,
      from: sqlite,
      cursor,
      insert: `INSERT OR REPLACE INTO ${sqlite} (${names}) VALUES (${columns.map(() => '?').join(', ')})`,
    },
    postgres: {
      from: `pool.${postgres}`,
      cursor: postgresCursor,
      insert: `INSERT INTO pool.${postgres} (${names}) SELECT ${names} FROM w`,
    },
  }
}

interface Plain {
  file: 'pool' | 'api'
  sqlite?: string
  postgres?: string
  cursor: readonly string[]
  postgresCursor?: readonly string[]
  large?: string
}

const TRANSCRIPT = ['tenant', 'project', 'sdk_session_id', 'subpath']

const transcriptOf = (alias: string): Record<string, string> =>
  Object.fromEntries(TRANSCRIPT.map((name) => [name, `${alias}.${name}`]))

const sessions: CopyTable = plain(
  'sessions',
  [
    ...text('tenant', 'key', 'uid', 'agent', 'cwd'),
    ...flag('owns_cwd'),
    ...escaped('sdk_session_id'),
    ...flag('begun'),
    ...whole('turns'),
    ...text('usage'),
    ...whole('created_at', 'last_used_at'),
    ...flag('open_turn'),
    ...whole('fence'),
  ],
  { file: 'pool', cursor: ['id'] },
)

const events: CopyTable = {
  name: 'events',
  columns: [...text('uid'), ...whole('number'), ...escaped('event_id', 'type'), ...whole('at'), ...text('json')],
  large: 'json',
  sqlite: {
    file: 'pool',
    from: 'events e JOIN sessions s ON s.id = e.session',
    cursor: ['e.id'],
    insert: `INSERT OR REPLACE INTO events (session, number, event_id, type, at, json, packed, bytes)
      SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM sessions WHERE uid = ?1`,
  },
  postgres: {
    from: 'pool.events e JOIN pool.sessions s ON s.id = e.session',
    cursor: ['e.session', 'e.number'],
    insert: `INSERT INTO pool.events (session, number, event_id, type, at, json)
      SELECT s.id, w.number, w.event_id, w.type, w.at, w.json FROM w JOIN pool.sessions s ON s.uid = w.uid`,
  },
}

const transcripts: CopyTable = {
  ...plain('transcripts', [...text(...TRANSCRIPT), ...whole('written_at')], { file: 'pool', cursor: ['id'] }),
  postgres: {
    from: 'pool.transcripts',
    cursor: ['id'],
    insert: `INSERT INTO pool.transcripts (${TRANSCRIPT.join(', ')}, written_at, batch)
      SELECT ${TRANSCRIPT.join(', ')}, written_at, '' FROM w`,
  },
}

const entries: CopyTable = {
  name: 'transcript_entries',
  columns: text(...TRANSCRIPT, 'uuid', 'json'),
  large: 'json',
  listsBy: TRANSCRIPT.length,
  sqlite: {
    file: 'pool',
    from: 'transcript_entries e JOIN transcripts t ON t.id = e.transcript',
    values: transcriptOf('t'),
    cursor: ['e.transcript', 'e.id'],
    insert: `INSERT INTO transcript_entries (transcript, uuid, json) SELECT id, ?5, ?6 FROM transcripts
      WHERE (${TRANSCRIPT.join(', ')}) = (?1, ?2, ?3, ?4)`,
  },
  postgres: {
    from: 'pool.transcript_entries e JOIN pool.transcripts t ON t.id = e.transcript',
    values: transcriptOf('t'),
    cursor: ['e.transcript', 'e.id'],
    insert: `INSERT INTO pool.transcript_entries (transcript, uuid, json)
      SELECT t.id, w.uuid, w.json FROM w JOIN pool.transcripts t
      ON (${TRANSCRIPT.map((name) => `t.${name}`).join(', ')}) = (${TRANSCRIPT.map((name) => `w.${name}`).join(', ')})
      ORDER BY w.place`,
  },
}

const accounts: CopyTable = plain(
  'accounts',
  [
    ...text('scope', 'tenant', 'name', 'period'),
    ...whole('tokens'),
    { name: 'cost_usd', type: 'double precision' },
    ...text('budget'),
  ],
  { file: 'pool', cursor: ['scope', 'tenant', 'name'] },
)

const resources: CopyTable = plain(
  'resources',
  [
    ...text('kind', 'tenant'),
    ...escaped('id'),
    ...whole('version', 'created_at', 'archived_at'),
    ...escaped('parent'),
    ...text('body'),
  ],
  { file: 'api', cursor: ['kind', 'tenant', 'id'], large: 'body' },
)

const versions: CopyTable = plain(
  'versions',
  [...text('kind', 'tenant'), ...escaped('id'), ...whole('version'), ...text('body')],
  { file: 'api', postgres: 'resource_versions', cursor: ['kind', 'tenant', 'id', 'version'], large: 'body' },
)

const ANSWER: readonly Column[] = [
  ...text('tenant', 'method'),
  ...escaped('path', 'key'),
  ...text('body_hash'),
  { name: 'at', type: 'timestamptz' },
  ...escaped('session'),
  { name: 'status', type: 'integer' },
  ...text('content_type', 'body'),
]

const answers: CopyTable = {
  ...plain('idempotency keys', ANSWER, { file: 'api', sqlite: 'kept_answers', cursor: ['id'], large: 'body' }),
  postgres: {
    from: 'pool.answers',
    cursor: ['id'],
    insert: `INSERT INTO pool.answers (${ANSWER.map(({ name }) => name).join(', ')}, work)
      SELECT ${ANSWER.map(({ name }) => name).join(', ')}, '' FROM w ORDER BY place`,
  },
}

const tokens: CopyTable = plain(
  'browser_tokens',
  [...text('id', 'sha256', 'tenant'), ...escaped('name'), ...text('agents', 'sessions'), ...whole('expires_at')],
  { file: 'api', cursor: ['id'] },
)

/** In the order in which they are copied: what others name comes first. */
export const TABLES: readonly CopyTable[] = [
  sessions,
  events,
  transcripts,
  entries,
  accounts,
  resources,
  versions,
  answers,
  tokens,
]

/** How much is read at once. */
export const PAGE_ROWS = 1_000
export const PAGE_BYTES: number = 4 * 2 ** 20
