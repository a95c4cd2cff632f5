import { FencedError, StoreError } from '../../errors.ts'
import type { ClaimedSession, SessionClaim, SessionRecord } from '../store.ts'
import type { Connections } from './connections.ts'
import { CLAIM_COLUMNS, FACTS, factsOf, toClaimed } from './rows.ts'
import type { ClaimRow } from './rows.ts'

/** What a statement needs to change one session of its owner; its first three values are those of the claim. */
export const OWNED = 'uid = $1 AND owner = $2 AND fence = $3'

/** Retires the host that was at this place before. */
const REGISTER = `
WITH before AS (UPDATE pool.hosts SET state = 'gone' WHERE place = $1 AND state <> 'gone')
INSERT INTO pool.hosts (place) VALUES ($1) RETURNING id`

/** Repeated after an unknown outcome it finds what it has made. */
const CREATE = `
WITH made AS (
  INSERT INTO pool.sessions (uid, owner, tenant, key, fence, ${FACTS}, agent_form)
  VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $11, $12, $13,
    (SELECT m.agents ->> $5 FROM pool.hosts m WHERE m.id = $2))
  ON CONFLICT (tenant, key) DO NOTHING RETURNING uid)
SELECT uid FROM made
UNION ALL SELECT uid FROM pool.sessions WHERE tenant = $3 AND key = $4 AND uid = $1 AND owner = $2 AND fence = 1 AND $14`

export const IS_GONE = `EXISTS (SELECT 1 FROM pool.hosts h WHERE h.id = s.owner AND h.state = 'gone')`

/** Host m has the session's agent in the form that the session had last, or nothing says which form that was. */
export const HAS_FORM = `(s.agent_form IS NULL OR m.agents IS NULL OR m.agents ->> s.agent = s.agent_form)`

/** A form that no other ready host has is that of a config that is no more. */
const FITS = `(${HAS_FORM} OR NOT EXISTS (
  SELECT 1 FROM pool.hosts o WHERE o.state = 'ready' AND o.id <> m.id AND o.agents ->> s.agent = s.agent_form))`

const NEW_FORM = `coalesce(m.agents ->> s.agent, s.agent_form)`

/** Free, of this host, or of a host that is gone: a new fence. */
const CLAIM = `
UPDATE pool.sessions s SET owner = $2, fence = s.fence + 1, agent_form = ${NEW_FORM} FROM pool.hosts m
WHERE s.uid = $1 AND (s.owner = $2 OR ((s.owner IS NULL OR ${IS_GONE}) AND ${FITS})) AND m.id = $2 AND m.state = 'ready'
RETURNING ${CLAIM_COLUMNS}`

/** Whose the session is; of no host: one that may claim it while host $2 may not. */
const REFUSAL = `
SELECT CASE WHEN s.owner IS NULL OR ${IS_GONE} THEN (
  SELECT o.id FROM pool.hosts o WHERE o.state = 'ready' AND o.id <> m.id AND o.agents ->> s.agent = s.agent_form
    AND NOT ${HAS_FORM} LIMIT 1) ELSE s.owner END AS owner
FROM pool.sessions s LEFT JOIN pool.hosts m ON m.id = $2 WHERE s.uid = $1`

/** Several hosts take some each. `$3`: what this host knows to own, which it did not adopt in an attempt of unknown outcome. */
const ADOPT = `
WITH few AS (
  SELECT s.id, ${NEW_FORM} AS form FROM pool.sessions s JOIN pool.hosts m ON m.id = $1 AND m.state = 'ready'
  WHERE s.open_turn AND (((s.owner IS NULL OR ${IS_GONE}) AND ${FITS}) OR (s.owner = $1 AND s.uid <> ALL ($3::text[])))
  ORDER BY s.id LIMIT $2 FOR UPDATE OF s SKIP LOCKED)
UPDATE pool.sessions s SET owner = $1, fence = s.fence + 1, agent_form = few.form FROM few WHERE s.id = few.id
RETURNING ${CLAIM_COLUMNS}`

/** Absolute fences: an attempt that arrives late changes nothing. */
const RAISE = `
UPDATE pool.sessions s SET fence = w.next FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS w (uid, fence, next)
WHERE s.uid = w.uid AND s.owner = $1 AND s.fence >= w.fence AND s.fence < w.next`

const valuesOf = ({ uid, owner, fence }: SessionClaim): [string, number, number] => [uid, Number(owner), fence]

/** The claims of one host: what it has, and with which fence it writes. */
export class Claims {
  readonly #connections: Connections
  /** The fence of each claim as it is now in the database, by session. */
  readonly #held = new Map<string, { owner: string; claimed: number; now: number; last: number }>()

  readonly #registered: number[] = []

  constructor(connections: Connections) {
    this.#connections = connections
  }

  /** The values of a claim for OWNED. */
  valuesOf(claim: SessionClaim): [string, number, number] {
    return valuesOf({ ...claim, fence: this.fenceOf(claim) })
  }

  /** The number of the session's last event as this host knows it; -1: it does not. */
  lastOf({ uid, fence }: SessionClaim): number {
    const held = this.#held.get(uid)
    return held?.claimed === fence ? held.last : -1
  }

  recordLast({ uid, fence }: SessionClaim, last: number): void {
    const held = this.#held.get(uid)
    if (held?.claimed === fence) held.last = Math.max(held.last, last)
  }

  fenceOf({ uid, fence }: SessionClaim): number {
    const held = this.#held.get(uid)
    return held?.claimed === fence ? held.now : fence
  }

  /**
   * Raises the fences of claims after a write of unknown outcome: one that still arrives is refused. The claims stay as valid as
   * they are. Rejects with StatementError.
   */
  async raise(claims: readonly SessionClaim[]): Promise<void> {
    const raised = claims.map((claim) => ({ claim, before: this.fenceOf(claim) }))
    for (const { claim, before } of raised) this.#hold(claim, before + 1, this.lastOf(claim))
    await this.#connections.once({
      name: 'raise',
      text: RAISE,
      values: [
        Number(claims[0]?.owner),
        claims.map(({ uid }) => uid),
        claims.map(({ fence }) => fence),
        raised.map(({ before }) => before + 1),
      ],
    })
  }

  async register(place: string): Promise<string> {
    const [host] = await this.#connections.persist(() =>
      this.#connections.once<{ id: number }>({ text: REGISTER, values: [place] }),
    )
    this.recordHost(host?.id as number)
    return String(host?.id)
  }

  /** The host that was added last by this store: what it is now. */
  get host(): number | undefined {
    return this.#registered.at(-1)
  }

  /** A host was added by this store. */
  recordHost(id: number): void {
    this.#registered.push(id)
  }

  /** The hosts that were registered here are gone, and so their sessions are free. */
  async leave(): Promise<void> {
    if (this.#registered.length === 0) return
    const text = `UPDATE pool.hosts SET state = 'gone' WHERE id = ANY ($1::bigint[])`
    await this.#connections.once({ text, values: [this.#registered] })
  }

  async create(record: SessionRecord, owner: string): Promise<SessionClaim | undefined> {
    const { tenant, key, uid } = record
    let isRepeated = false
    const [made] = await this.#connections.persist(() =>
      this.#connections
        .once({
          name: 'create',
          text: CREATE,
          values: [uid, Number(owner), tenant, key, ...factsOf(record), isRepeated],
        })
        .catch((error: unknown) => {
          isRepeated = true
          throw error
        }),
    )
    return made === undefined ? undefined : this.#note({ uid, owner, fence: 1 }, 0)
  }

  async claim(uid: string, owner: string): Promise<ClaimedSession> {
    const [row] = await this.#connections.persist(() =>
      this.#connections.once<ClaimRow>({ name: 'claim', text: CLAIM, values: [uid, Number(owner)] }),
    )
    if (row === undefined) throw (await this.refusal(uid, owner)) ?? notThere(uid)
    const claimed = toClaimed(row)
    this.#note(claimed.claim, claimed.lastEvent)
    return claimed
  }

  async adopt(owner: string, limit: number): Promise<ClaimedSession[]> {
    // Until an attempt has an unknown outcome, this host owns nothing that it does not know of.
    let known: readonly string[] | undefined
    const rows = await this.#connections.persist(() =>
      this.#connections
        .once<ClaimRow>({ name: known === undefined ? 'adopt' : 'adopt again', ...adopt(owner, limit, known) })
        .catch((error: unknown) => {
          known = [...this.#held].flatMap(([uid, held]) => (held.owner === owner ? uid : []))
          throw error
        }),
    )
    return rows.map((row) => {
      const claimed = toClaimed(row)
      this.#note(claimed.claim, claimed.lastEvent)
      return claimed
    })
  }

  async release(claim: SessionClaim): Promise<void> {
    const text = `UPDATE pool.sessions SET owner = NULL WHERE ${OWNED}`
    await this.#connections.persist(() =>
      this.#connections.once({ name: 'release', text, values: this.valuesOf(claim) }),
    )
    this.forget(claim)
  }

  /** The session is no longer this host's. */
  forget({ uid, fence }: SessionClaim): void {
    if (this.#held.get(uid)?.claimed === fence) this.#held.delete(uid)
  }

  /** Why a write of this session has changed nothing; undefined if the session is not there. Rejects with StoreError. */
  async refusal(uid: string, claimant?: string): Promise<FencedError | undefined> {
    const values = [uid, claimant === undefined ? null : Number(claimant)]
    const [row] = await this.#connections.read<{ owner: number | null }>({ text: REFUSAL, values })
    return row && new FencedError(uid, row.owner === null ? undefined : String(row.owner))
  }

  #note(claim: SessionClaim, last: number): SessionClaim {
    this.#hold(claim, claim.fence, last)
    return claim
  }

  #hold({ uid, owner, fence }: SessionClaim, now: number, last: number): void {
    this.#held.set(uid, { owner, claimed: fence, now, last })
  }
}

function adopt(
  owner: string,
  limit: number,
  known: readonly string[] | undefined,
): { text: string; values: unknown[] } {
  if (known !== undefined) return { text: ADOPT, values: [Number(owner), limit, known] }
  const text = ADOPT.replace(' OR (s.owner = $1 AND s.uid <> ALL ($3::text[]))', '')
  return { text, values: [Number(owner), limit] }
}

export const notThere = (uid: string): StoreError => new StoreError(`session ${uid} is not in the store`)
