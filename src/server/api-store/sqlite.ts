import type { ApiStore } from '../../store/api-store.ts'
import { Database } from './database.ts'
import { ANSWERS_SCHEMA, SqliteAnswers } from './sqlite-answers.ts'
import { RESOURCES_SCHEMA, SqliteResources } from './sqlite-resources.ts'
import { SqliteTokens, TOKENS_SCHEMA } from './sqlite-tokens.ts'

/** Of all tables. */
const SCHEMA_VERSION = 1

/** All in one SQLite file with one owner, the host of the data directory. */
export class SqliteApiStore implements ApiStore {
  readonly resources: SqliteResources
  readonly answers: SqliteAnswers
  readonly tokens: SqliteTokens
  readonly #database: Database

  /** `:memory:` keeps everything until `close()`. Throws when the file cannot be used. */
  constructor(path: string) {
    this.#database = new Database(path, `${RESOURCES_SCHEMA} ${ANSWERS_SCHEMA} ${TOKENS_SCHEMA}`, SCHEMA_VERSION)
    this.resources = new SqliteResources(this.#database)
    this.answers = new SqliteAnswers(this.#database)
    this.tokens = new SqliteTokens(this.#database)
  }

  eraseTenant(tenant: string): Promise<void> {
    return this.#database.write(() => {
      for (const table of ['resources', 'versions', 'kept_answers', 'browser_tokens'])
        this.#database.prepare(`DELETE FROM ${table} WHERE tenant = ?`).run(tenant)
    })
  }

  /** Closes the file. A second call does nothing. */
  close(): void {
    this.#database.close()
  }
}
