import { DatabaseSync } from '../sqlite.ts'

/** Which request it is: one that says the same of itself is the same, sent again. */
export interface RequestName {
  tenant: string
  method: string
  path: string
  /** As its client has named it. */
  key: string
}

/** An answer as it is given again. */
export interface KeptAnswer {
  status: number
  contentType: string
  /** Undefined: it was too large to keep. */
  body: string | undefined
}

/** A request as it was when it came first. */
export interface KeptRequest {
  bodyHash: string
  /** Undefined: it is being worked on, or its host ended meanwhile. */
  answer: KeptAnswer | undefined
}

/** Where the answers to requests are kept that may come again. */
export interface KeptAnswers {
  /**
   * Notes a request of this time, in milliseconds since the epoch, before it is worked on. Gives what was noted of it
   * before, and then notes nothing. What came before `since` is forgotten, and of a tenant's requests the oldest beyond `max`.
   */
  begin(
    request: RequestName & { bodyHash: string; at: number },
    bounds: { since: number; max: number },
  ): Promise<KeptRequest | undefined>
  /** Keeps the answer, which goes with the session that it is about. */
  finish(request: RequestName, answer: KeptAnswer, session: string | undefined): Promise<void>
  /** Nothing has come of it: the next one of its name is the first again. */
  forget(request: RequestName): Promise<void>
  /** Forgets what is about this session. */
  forgetSession(tenant: string, session: string): Promise<void>
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS kept_answers (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL,
    body_hash TEXT NOT NULL, at INTEGER NOT NULL, session TEXT,
    status INTEGER, content_type TEXT, body TEXT,
    UNIQUE (tenant, method, path, key)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS kept_answers_by_time ON kept_answers (at);
  CREATE INDEX IF NOT EXISTS kept_answers_by_tenant ON kept_answers (tenant, id);
  CREATE INDEX IF NOT EXISTS kept_answers_by_session ON kept_answers (tenant, session) WHERE session IS NOT NULL;
`

const NAMED = 'tenant = ? AND method = ? AND path = ? AND key = ?'

interface Row {
  body_hash: string
  status: number | null
  content_type: string | null
  body: string | null
}

const toRequest = ({ body_hash: bodyHash, status, content_type, body }: Row): KeptRequest => ({
  bodyHash,
  answer: status === null ? undefined : { status, contentType: content_type ?? '', body: body ?? undefined },
})

/** In a SQLite file with one owner. */
export class SqliteAnswers implements KeptAnswers {
  readonly #database: DatabaseSync

  /** `:memory:` keeps them until `close()`. */
  constructor(path: string) {
    this.#database = new DatabaseSync(path)
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 1000')
    this.#database.exec(SCHEMA)
  }

  async begin(
    { bodyHash, at, ...name }: Parameters<KeptAnswers['begin']>[0],
    { since, max }: Parameters<KeptAnswers['begin']>[1],
  ): Promise<KeptRequest | undefined> {
    this.#database.prepare('DELETE FROM kept_answers WHERE at < ?').run(since)
    const known = this.#database.prepare(`SELECT * FROM kept_answers WHERE ${NAMED}`).get(...values(name))
    if (known !== undefined) return toRequest(known as unknown as Row)
    this.#transaction(() => {
      this.#database
        .prepare('INSERT INTO kept_answers (tenant, method, path, key, body_hash, at) VALUES (?, ?, ?, ?, ?, ?)')
        .run(...values(name), bodyHash, at)
      this.#database
        .prepare(
          `DELETE FROM kept_answers WHERE tenant = ? AND id <=
           (SELECT id FROM kept_answers WHERE tenant = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`,
        )
        .run(name.tenant, name.tenant, max)
    })
    return undefined
  }

  async finish(
    name: RequestName,
    { status, contentType, body }: KeptAnswer,
    session: string | undefined,
  ): Promise<void> {
    this.#database
      .prepare(`UPDATE kept_answers SET (status, content_type, body, session) = (?, ?, ?, ?) WHERE ${NAMED}`)
      .run(status, contentType, body ?? null, session ?? null, ...values(name))
  }

  async forget(name: RequestName): Promise<void> {
    this.#database.prepare(`DELETE FROM kept_answers WHERE ${NAMED}`).run(...values(name))
  }

  async forgetSession(tenant: string, session: string): Promise<void> {
    this.#database.prepare('DELETE FROM kept_answers WHERE tenant = ? AND session = ?').run(tenant, session)
  }

  close(): void {
    this.#database.close()
  }

  #transaction(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
  }
}

const values = ({ tenant, method, path, key }: RequestName): [string, string, string, string] => [
  tenant,
  method,
  path,
  key,
]
