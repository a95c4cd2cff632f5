import type { AnswerStore, KeptAnswer, KeptRequest, RequestName } from '../../store/api-store.ts'
import type { Database } from './database.ts'

export const ANSWERS_SCHEMA = `
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
  // Its only host knows by itself what it works on.
  isWorkedOn: false,
})

export class SqliteAnswers implements AnswerStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  begin(
    { bodyHash, at, ...name }: Parameters<AnswerStore['begin']>[0],
    { since, max }: Parameters<AnswerStore['begin']>[1],
  ): Promise<KeptRequest | undefined> {
    return this.#database.write(() => {
      this.#database.prepare('DELETE FROM kept_answers WHERE at < ?').run(since)
      const known = this.#database.prepare(`SELECT * FROM kept_answers WHERE ${NAMED}`).get(...values(name))
      if (known !== undefined) return toRequest(known as unknown as Row)
      this.#database
        .prepare('INSERT INTO kept_answers (tenant, method, path, key, body_hash, at) VALUES (?, ?, ?, ?, ?, ?)')
        .run(...values(name), bodyHash, at)
      this.#database
        .prepare(
          `DELETE FROM kept_answers WHERE tenant = ? AND id <=
           (SELECT id FROM kept_answers WHERE tenant = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`,
        )
        .run(name.tenant, name.tenant, max)
      return undefined
    })
  }

  finish(name: RequestName, { status, contentType, body }: KeptAnswer, session: string | undefined): Promise<void> {
    return this.#run(
      `UPDATE kept_answers SET (status, content_type, body, session) = (?, ?, ?, ?) WHERE ${NAMED}`,
      status,
      contentType,
      body ?? null,
      session ?? null,
      ...values(name),
    )
  }

  forget(name: RequestName): Promise<void> {
    return this.#run(`DELETE FROM kept_answers WHERE ${NAMED}`, ...values(name))
  }

  forgetSession(tenant: string, session: string): Promise<void> {
    return this.#run('DELETE FROM kept_answers WHERE tenant = ? AND session = ?', tenant, session)
  }

  #run(sql: string, ...parameters: (string | number | null)[]): Promise<void> {
    return this.#database.read(() => void this.#database.prepare(sql).run(...parameters))
  }
}

const values = ({ tenant, method, path, key }: RequestName): [string, string, string, string] => [
  tenant,
  method,
  path,
  key,
]
