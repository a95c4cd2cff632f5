import type Pg from 'pg'
import { StoreError } from '../../errors.ts'
import type { Beat, HostDirectory, HostFacts, HostInfo, HostReport, HostOfSession } from '../store.ts'
import { HAS_FORM, IS_GONE } from './claims.ts'
import type { Claims } from './claims.ts'
import { LONG_QUERY_MS } from './connections.ts'
import type { Connections } from './connections.ts'

/** A beat without an answer for so long has failed: the next one is due. */
const BEAT_MS = 900

/** Retires the host that was at this place before. */
const JOIN = `
WITH before AS (UPDATE pool.hosts SET state = 'gone' WHERE place = $1 AND state <> 'gone')
INSERT INTO pool.hosts (place, version, ttl_ms, address, agents, beat_at, steady_since)
VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp()) RETURNING id`

const COLUMNS = `id, place, address, state, coalesce(version, '') AS version, running, waiting, free,
  coalesce(extract(epoch FROM clock_timestamp() - beat_at) * 1000, 0)::bigint AS silent_ms`

/**
 * Is heard of, declares the silent gone, and learns who is there. After an outage nobody has been heard: another host is silent only for
 * as long as this one could have heard it, which is since it beats steadily.
 */
const BEAT = `
WITH me AS (
  UPDATE pool.hosts SET
    steady_since = CASE WHEN beat_at < clock_timestamp() - ttl_ms * interval '0.5 ms' THEN clock_timestamp() ELSE steady_since END,
    beat_at = clock_timestamp(),
    state = CASE WHEN state = 'draining' THEN state ELSE $2 END, running = $3, waiting = $4, free = $5
  WHERE id = $1 AND state <> 'gone' RETURNING id, steady_since, state),
dead AS (
  UPDATE pool.hosts SET state = 'gone' WHERE id IN (
    SELECT h.id FROM pool.hosts h, me WHERE h.id <> me.id AND h.state <> 'gone' AND h.ttl_ms IS NOT NULL
    AND greatest(h.beat_at, me.steady_since) < clock_timestamp() - h.ttl_ms * interval '1 ms'
    FOR UPDATE OF h SKIP LOCKED) RETURNING id)
SELECT ${COLUMNS}, (SELECT state FROM me) AS own_state, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
  EXISTS (SELECT FROM pool.sessions WHERE open_turn AND owner IS NULL) AS is_left FROM pool.hosts
WHERE state <> 'gone' AND id NOT IN (SELECT id FROM dead) ORDER BY id`

/** The time is the database's. Another owner raises the fence, so that the row says how often the job has moved. */
const TAKE_JOB = `
INSERT INTO pool.jobs AS j (name, owner, fence, until)
SELECT $1, id, 1, clock_timestamp() + $3 * interval '1 ms' FROM pool.hosts WHERE id = $2 AND state = 'ready'
ON CONFLICT (name) DO UPDATE SET
  owner = excluded.owner, until = excluded.until, fence = j.fence + CASE WHEN j.owner = excluded.owner THEN 0 ELSE 1 END
WHERE j.owner IS NULL OR j.owner = excluded.owner OR j.until < clock_timestamp()
  OR NOT EXISTS (SELECT 1 FROM pool.hosts h WHERE h.id = j.owner AND h.state <> 'gone')
RETURNING fence`

const LONG_GONE = `state = 'gone' AND coalesce(beat_at, '-infinity') < clock_timestamp() - interval '1 day'`

/** What such a host has left in a turn is taken over as before. */
const FREE_SESSIONS = `
UPDATE pool.sessions SET owner = NULL WHERE id IN (
  SELECT s.id FROM pool.sessions s JOIN pool.hosts h ON h.id = s.owner WHERE ${LONG_GONE} FOR UPDATE OF s SKIP LOCKED)`

/** One that a session still names stays for the next time. */
const FORGET_GONE = `
DELETE FROM pool.hosts h WHERE ${LONG_GONE} AND NOT EXISTS (SELECT 1 FROM pool.sessions s WHERE s.owner = h.id)`

/** The owner; else, for a session that `$3` may not claim, a ready host that may, the one with most room. */
const HOST_OF = `
SELECT h.id, h.place, h.address, coalesce(h.id = s.owner, false) AS owns FROM pool.sessions s
JOIN pool.hosts h ON h.id = s.owner OR (h.state = 'ready' AND h.id <> $3 AND h.agents ->> s.agent = s.agent_form)
WHERE s.tenant = $1 AND s.key = $2 AND h.state <> 'gone'
  AND (h.id = s.owner OR ((s.owner IS NULL OR ${IS_GONE})
    AND NOT EXISTS (SELECT 1 FROM pool.hosts m WHERE m.id = $3 AND ${HAS_FORM})))
ORDER BY h.free DESC LIMIT 1`

interface Row extends Omit<HostReport, 'state'> {
  id: number
  place: string
  state: HostReport['state']
  address: string | null
  version: string
  silent_ms: number
  now?: number
  own_state?: HostReport['state'] | null
  is_left?: boolean
}

const infoOf = ({
  id,
  place,
  address,
  state,
  version,
  running,
  waiting,
  free,
  silent_ms: silentMs,
}: Row): HostInfo => ({
  id: String(id),
  place,
  ...(address === null ? {} : { address }),
  state,
  version,
  running,
  waiting,
  free,
  silentMs,
})

/** The hosts of a database. Beats have a connection of their own, so that no long statement holds them up. */
export class Hosts implements HostDirectory {
  readonly #connections: Connections
  readonly #claims: Claims
  #client: Pg.Client | undefined
  #closed = false

  constructor(connections: Connections, claims: Claims) {
    this.#connections = connections
    this.#claims = claims
  }

  async join(place: string, { version, ttlMs, address, agents }: HostFacts): Promise<string> {
    const values = [place, version, ttlMs, address ?? null, agents === undefined ? null : JSON.stringify(agents)]
    const [host] = await this.#connections.persist(() => this.#connections.once<{ id: number }>({ text: JOIN, values }))
    this.#claims.recordHost(host?.id as number)
    return String(host?.id)
  }

  async beat(id: string, { state, running, waiting, free }: HostReport): Promise<Beat> {
    const client = this.#client ?? (await this.#connect())
    try {
      const values = [Number(id), state, running, waiting, Math.min(free, 2 ** 31 - 1)]
      const { rows } = await client.query<Row>({ text: this.#connections.textOf(BEAT), values })
      const [first] = rows
      const own = first?.own_state ?? null
      // The rows are as they were before this statement.
      const hosts = rows.map(infoOf).map((host) => (host.id === id && own !== null ? { ...host, state: own } : host))
      const isLeft = first?.is_left === true
      return { isMember: own !== null, hosts, isLeft, ...(first?.now === undefined ? {} : { now: first.now }) }
    } catch (error) {
      this.#drop(client)
      throw error
    }
  }

  async describe(id: string, agents: Readonly<Record<string, string>>): Promise<void> {
    const text = 'UPDATE pool.hosts SET agents = $2 WHERE id = $1'
    await this.#connections.persist(() =>
      this.#connections.once({ text, values: [Number(id), JSON.stringify(agents)] }),
    )
  }

  async hostOf(tenant: string, key: string, asker: string): Promise<HostOfSession | undefined> {
    const values = [tenant, key, Number(asker)]
    const [row] = await this.#connections.read<Pick<Row, 'id' | 'place' | 'address'> & { owns: boolean }>({
      name: 'host of',
      text: HOST_OF,
      values,
    })
    if (row === undefined) return undefined
    const { id, place, address, owns } = row
    return { id: String(id), place, owns, ...(address === null ? {} : { address }) }
  }

  async countSessions(tenant: string, atMost: number): Promise<number> {
    const text = `SELECT count(*) AS count FROM (SELECT FROM pool.sessions WHERE tenant = $1 LIMIT $2) s`
    const values = [tenant, atMost]
    const [row] = await this.#connections.read<{ count: number }>({ name: 'count sessions', text, values })
    return row?.count ?? 0
  }

  async secret(): Promise<string> {
    const text = `SELECT value FROM pool.secrets WHERE name = 'peers'`
    const [row] = await this.#connections.read<{ value: string }>({ text })
    if (row === undefined)
      throw new StoreError(`${this.#connections.place} has lost its row "peers" of the table secrets`)
    return row.value
  }

  async list(): Promise<HostInfo[]> {
    const text = `SELECT ${COLUMNS} FROM pool.hosts WHERE state <> 'gone' ORDER BY id`
    return (await this.#connections.read<Row>({ text })).map(infoOf)
  }

  async drain(id: string): Promise<boolean> {
    const text = `UPDATE pool.hosts SET state = 'draining' WHERE id = $1 AND state <> 'gone' RETURNING 1`
    return (await this.#connections.persist(() => this.#connections.once({ text, values: [Number(id)] }))).length > 0
  }

  async takeJob(name: string, id: string, forMs: number): Promise<boolean> {
    const statement = { name: 'take job', text: TAKE_JOB, values: [name, Number(id), forMs] }
    return (await this.#connections.persist(() => this.#connections.once(statement))).length > 0
  }

  async forgetGone(): Promise<void> {
    for (const text of [FREE_SESSIONS, FORGET_GONE])
      await this.#connections.persist(() => this.#connections.once({ text, timeoutMs: LONG_QUERY_MS }))
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#client !== undefined) this.#drop(this.#client)
  }

  async #connect(): Promise<Pg.Client> {
    if (this.#closed) throw new Error('the store is closed')
    const client = this.#connections.newClient(BEAT_MS)
    // Also while a beat is on its way: an error without a listener would end this host.
    client.on('error', () => this.#drop(client))
    try {
      await client.connect()
    } catch (error) {
      this.#drop(client)
      throw error
    }
    this.#client = client
    return client
  }

  /** The connection may not answer: nothing is waited for. */
  #drop(client: Pg.Client): void {
    if (this.#client === client) this.#client = undefined
    void client.end().catch(() => undefined)
    ;(client as unknown as { connection?: { stream?: { destroy(): void } } }).connection?.stream?.destroy()
  }
}
