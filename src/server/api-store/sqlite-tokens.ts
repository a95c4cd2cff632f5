import type { StoredToken, TokenStore } from '../../store/api-store.ts'
import type { Database } from './database.ts'

export const TOKENS_SCHEMA = `
  CREATE TABLE IF NOT EXISTS browser_tokens (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, name TEXT NOT NULL,
    agents TEXT NOT NULL, sessions TEXT NOT NULL, expires_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS browser_tokens_by_tenant ON browser_tokens (tenant, expires_at);
`

interface Row extends Omit<StoredToken, 'agents' | 'sessions'> {
  agents: string
  sessions: string
}

export class SqliteTokens implements TokenStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  create(token: StoredToken, { now, max }: Parameters<TokenStore['create']>[1]): Promise<boolean> {
    const { id, sha256, tenant, name, agents, sessions, expiresAt } = token
    return this.#database.write(() => {
      this.#database.prepare('DELETE FROM browser_tokens WHERE expires_at <= ?').run(now)
      const row = this.#database.prepare('SELECT count(*) AS count FROM browser_tokens WHERE tenant = ?').get(tenant)
      if (Number(row?.['count']) >= max) return false
      this.#database
        .prepare(
          `INSERT INTO browser_tokens (id, sha256, tenant, name, agents, sessions, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(id, sha256, tenant, name, JSON.stringify(agents), JSON.stringify(sessions), expiresAt)
      return true
    })
  }

  find(sha256: string, now: number): Promise<StoredToken | undefined> {
    return this.#database.read(() => {
      const row = this.#database
        .prepare(
          `SELECT id, sha256, tenant, name, agents, sessions, expires_at AS expiresAt
           FROM browser_tokens WHERE sha256 = ? AND expires_at > ?`,
        )
        .get(sha256, now) as Row | undefined
      if (row === undefined) return undefined
      return { ...row, agents: JSON.parse(row.agents) as string[], sessions: JSON.parse(row.sessions) as string[] }
    })
  }

  remove(tenant: string, id: string, now: number): Promise<boolean> {
    return this.#database.read(() => {
      const { changes } = this.#database
        .prepare('DELETE FROM browser_tokens WHERE tenant = ? AND id = ? AND expires_at > ?')
        .run(tenant, id, now)
      return Number(changes) > 0
    })
  }
}
