import type { StatementSync } from 'node:sqlite'
import { StoreError, storeError } from '../../errors.ts'
import { makePrivateFile } from '../../private-file.ts'
import { DatabaseSync } from '../../sqlite.ts'

/** A SQLite file with one owner. Its methods work at once, and reject with StoreError. */
export class Database {
  readonly #path: string
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** A file of a newer schema is refused. Throws when the file cannot be used. */
  constructor(path: string, schema: string, version: number) {
    if (path !== ':memory:') makePrivateFile(path)
    this.#path = path
    this.#database = new DatabaseSync(path)
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 1000')
    const found = Number(Object.values(this.#database.prepare('PRAGMA user_version').get() ?? {})[0])
    if (found > version) {
      this.#database.close()
      throw new StoreError(
        `${path} was written by a newer release (schema ${found}, this one reads ${version}); run that release`,
        { code: 'schema_newer' },
      )
    }
    this.#database.exec(`${schema} PRAGMA user_version = ${version}`)
  }

  /** A statement, made once. There are a few dozen texts at most: the combinations of a list's conditions. */
  prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const statement = this.#database.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }

  async read<T>(work: () => T): Promise<T> {
    try {
      return work()
    } catch (error) {
      throw storeError(this.#path, error)
    }
  }

  /** Does all of it or nothing. */
  write<T>(work: () => T): Promise<T> {
    return this.read(() => {
      this.#database.exec('BEGIN IMMEDIATE')
      try {
        const done = work()
        this.#database.exec('COMMIT')
        return done
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
        throw error
      }
    })
  }

  /** A second call does nothing. */
  close(): void {
    if (this.#database.isOpen) this.#database.close()
  }
}
