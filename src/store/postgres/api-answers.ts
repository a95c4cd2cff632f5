import { randomUUID } from 'node:crypto'
import { StoreError } from '../../errors.ts'
import type { AnswerStore, KeptAnswer, KeptRequest, RequestName } from '../api-store.ts'
import type { Connections } from './connections.ts'
import { escape } from './text.ts'

const NAMED = 'tenant = $1 AND method = $2 AND path = $3 AND key = $4'

/** A row of before the bound is as good as none. Repeated after an unknown outcome it finds what it has made. */
const BEGIN = `
INSERT INTO pool.answers AS a (tenant, method, path, key, body_hash, owner, work)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant, method, path, key) DO UPDATE SET
  id = excluded.id, body_hash = excluded.body_hash, owner = excluded.owner, work = excluded.work, at = excluded.at,
  status = NULL, content_type = NULL, body = NULL, session = NULL
WHERE a.work = excluded.work OR a.at < clock_timestamp() - $8 * interval '1 ms'
RETURNING 1`

const FIND = `
SELECT a.body_hash, a.status, a.content_type, a.body, a.work, h.state AS owner_state, a.owner
FROM pool.answers a LEFT JOIN pool.hosts h ON h.id = a.owner WHERE ${NAMED}`

const FORGET_OLD = `
WITH old AS (DELETE FROM pool.answers WHERE at < clock_timestamp() - $3 * interval '1 ms')
DELETE FROM pool.answers WHERE tenant = $1
  AND id <= (SELECT id FROM pool.answers WHERE tenant = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)`

/** Nobody works on it. Repeated after an unknown outcome it finds what it has done. */
const TAKE_UP = `
UPDATE pool.answers a SET owner = $5, work = $6 || substring(a.work FROM '/.*')
WHERE ${NAMED} AND a.status IS NULL AND a.work LIKE '%/%' AND (a.owner IS NULL OR a.owner = $5 OR NOT EXISTS (
  SELECT 1 FROM pool.hosts h WHERE h.id = a.owner AND h.state <> 'gone'))
RETURNING a.work`

/** What was taken up by another host since is that host's. */
const OWN = `${NAMED} AND work = $5`

/** Between a row that was there and one that is found another host may remove it. */
const MOST_TRIES = 20

interface Row {
  body_hash: string
  status: number | null
  content_type: string | null
  body: string | null
  work: string
  owner: number | null
  owner_state: 'ready' | 'draining' | 'gone' | null
}

const valuesOf = ({ tenant, method, path, key }: RequestName): [string, string, string, string] => [
  tenant,
  method,
  escape(path),
  escape(key),
]

/** Answers to requests that name themselves, for all hosts. What is old goes by the clock of the database. */
export class PostgresAnswers implements AnswerStore {
  readonly #connections: Connections
  readonly #host: () => number | undefined
  /** What this host works on. */
  readonly #working = new Map<string, string>()

  /** `host`: the id of this one, if it has one. */
  constructor(connections: Connections, host: () => number | undefined) {
    this.#connections = connections
    this.#host = host
  }

  async begin(
    { bodyHash, at, seed, ...name }: Parameters<AnswerStore['begin']>[0],
    { since, max }: Parameters<AnswerStore['begin']>[1],
  ): Promise<KeptRequest | undefined> {
    const work = seed === undefined ? randomUUID() : `${randomUUID()}/${seed}`
    const keptMs = at - since
    const values = [...valuesOf(name), bodyHash, this.#host() ?? null, work, keptMs]
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      const made = await this.#write<unknown>({ name: 'begin answer', text: BEGIN, values })
      if (made.length > 0) {
        this.#working.set(placeOf(name), work)
        await this.#write({ name: 'forget answers', text: FORGET_OLD, values: [name.tenant, max, keptMs] })
        return undefined
      }
      const [row] = await this.#connections.read<Row>({ name: 'answer', text: FIND, values: valuesOf(name) })
      if (row !== undefined) return this.#toRequest(row, name)
    }
    throw new StoreError('a request that names itself is begun and forgotten by other hosts all the time')
  }

  async finish(
    name: RequestName,
    { status, contentType, body }: KeptAnswer,
    session: string | undefined,
  ): Promise<void> {
    const work = this.#end(name)
    const about = session === undefined ? null : escape(session)
    await this.#write({
      name: 'finish answer',
      text: `UPDATE pool.answers SET status = $6, content_type = $7, body = $8, session = $9 WHERE ${OWN}`,
      values: [...valuesOf(name), work, status, contentType, body ?? null, about],
    })
  }

  async forget(name: RequestName): Promise<void> {
    await this.#write({ text: `DELETE FROM pool.answers WHERE ${OWN}`, values: [...valuesOf(name), this.#end(name)] })
  }

  async leave(name: RequestName): Promise<void> {
    const text = `UPDATE pool.answers SET owner = NULL WHERE ${OWN}`
    await this.#write({ text, values: [...valuesOf(name), this.#end(name)] })
  }

  async takeUp(name: RequestName): Promise<boolean> {
    const values = [...valuesOf(name), this.#host() ?? null, randomUUID()]
    const [row] = await this.#write<{ work: string }>({ text: TAKE_UP, values })
    if (row !== undefined) this.#working.set(placeOf(name), row.work)
    return row !== undefined
  }

  async forgetSession(tenant: string, session: string): Promise<void> {
    const text = 'DELETE FROM pool.answers WHERE tenant = $1 AND session = $2'
    await this.#write({ text, values: [tenant, escape(session)] })
  }

  #toRequest({ body_hash: bodyHash, status, content_type, body, work, ...row }: Row, name: RequestName): KeptRequest {
    if (status !== null) {
      const answer = { status, contentType: content_type ?? '', body: body ?? undefined }
      return { bodyHash, answer, isWorkedOn: false }
    }
    const isOwn = row.owner === (this.#host() ?? null)
    const isWorkedOn = isOwn
      ? this.#working.get(placeOf(name)) === work
      : row.owner_state !== null && row.owner_state !== 'gone'
    const [, seed] = work.split('/')
    return { bodyHash, answer: undefined, isWorkedOn, ...(seed === undefined ? {} : { seed }) }
  }

  /** It is worked on no more; by which attempt it was. */
  #end(name: RequestName): string {
    const place = placeOf(name)
    const work = this.#working.get(place) ?? ''
    this.#working.delete(place)
    return work
  }

  #write<R>(statement: Parameters<Connections['once']>[0]): Promise<R[]> {
    return this.#connections.persist(() => this.#connections.once<R>(statement))
  }
}

const placeOf = (name: RequestName): string => JSON.stringify(valuesOf(name))
