import type { StoredToken, TokenStore } from '../api-store.ts'
import type { Connections } from './connections.ts'
import { Lanes } from './lanes.ts'
import { escape, unescape } from './text.ts'

/** A host whose clock is fast removes none that the database holds for valid. Repeated it finds what it has made. */
const CREATE = `
WITH old AS (
  DELETE FROM pool.browser_tokens
  WHERE expires_at <= least($8::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AND id <> $1),
made AS (
  INSERT INTO pool.browser_tokens (id, sha256, tenant, name, agents, sessions, expires_at)
  SELECT $1, $2, $3, $4, $5, $6, $7
  WHERE (SELECT count(*) FROM pool.browser_tokens WHERE tenant = $3 AND expires_at > $8 AND id <> $1) < $9
  ON CONFLICT (id) DO NOTHING RETURNING 1)
SELECT 1 FROM made UNION ALL SELECT 1 FROM pool.browser_tokens WHERE id = $1 AND sha256 = $2`

/** Browser tokens for all hosts. Hosts that make some at the same moment may exceed a tenant's bound by one each. */
export class PostgresTokens implements TokenStore {
  readonly #connections: Connections
  readonly #lanes = new Lanes()

  constructor(connections: Connections) {
    this.#connections = connections
  }

  create(token: StoredToken, { now, max }: Parameters<TokenStore['create']>[1]): Promise<boolean> {
    const { id, sha256, tenant, name, agents, sessions, expiresAt } = token
    const lists = [JSON.stringify(agents), JSON.stringify(sessions)]
    const values = [id, sha256, tenant, escape(name), ...lists, Math.floor(expiresAt), Math.floor(now), max]
    return this.#lanes.run(tenant, async () => {
      const statement = { name: 'create token', text: CREATE, values }
      return (await this.#connections.persist(() => this.#connections.once(statement))).length > 0
    })
  }

  async find(sha256: string, now: number): Promise<StoredToken | undefined> {
    const [row] = await this.#connections.read<StoredToken & { agents: string; sessions: string }>({
      name: 'token',
      text: `SELECT id, sha256, tenant, name, agents, sessions, expires_at AS "expiresAt"
        FROM pool.browser_tokens WHERE sha256 = $1 AND expires_at > $2`,
      values: [sha256, Math.floor(now)],
    })
    if (row === undefined) return undefined
    const { name, agents, sessions } = row
    return {
      ...row,
      name: unescape(name),
      agents: JSON.parse(agents) as string[],
      sessions: JSON.parse(sessions) as string[],
    }
  }

  async remove(tenant: string, id: string, now: number): Promise<boolean> {
    const values = [tenant, escape(id), Math.floor(now)]
    const text = 'DELETE FROM pool.browser_tokens WHERE tenant = $1 AND id = $2 AND expires_at > $3 RETURNING 1'
    return (await this.#connections.persist(() => this.#connections.once({ text, values }))).length > 0
  }
}
