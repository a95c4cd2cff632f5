import { parseWall } from '../../../clock.ts'
import type { Clock } from '../../../clock.ts'
import type { NumberedEvent, Pool, Session } from '../../../index.ts'
import type { Resource, ResourceStore } from '../../../store/api-store.ts'
import { idOf } from '../ids.ts'
import { isGone } from '../sessions/sessions.ts'
import type { StoredSession } from '../sessions/session-resource.ts'
import { createOnce } from './queue.ts'
import { TOLD_EVENTS, toldOf } from './event-types.ts'
import type { WebhookEventType } from './event-types.ts'

const PAGE = 100

/** How far webhooks have told of a session. */
interface Cursor {
  /** The number of the last event that was told. */
  after: number
  /** The place of the last delivery: later ones have larger ones. */
  place: number
  created: boolean
  archived: boolean
  /** A turn was told that has not ended. */
  running: boolean
}

/** An event of a session that is to be told. */
export interface SessionNews {
  tenant: string
  type: WebhookEventType
  session: string
  /** Of the event: the same, however often it is told. */
  id: string
  /** Milliseconds since the epoch. */
  at: number
  place: number
}

interface WatchContext {
  pool: Pick<Pool, 'session' | 'runningSessions'>
  store: ResourceStore
  clock: Clock
  /** Resolves when it is kept. */
  tell: (news: SessionNews) => Promise<void>
  trouble: (message: string, error: unknown) => void
}

interface Watched {
  /** Each step comes after the one before. */
  last: Promise<unknown>
  /** Messages on their way to it. */
  expected: number
  /** Its events are read as they come. */
  followed: boolean
  reader: AsyncIterator<unknown> | undefined
}

type Place = readonly [tenant: string, session: string]

const placeOf = (tenant: string, session: string): string => JSON.stringify([tenant, session])

/**
 * Tells what happens in sessions. The events of a session are durable, and so is how far they were told: a cursor that is open while the
 * session may have news. What a host had not told when it died, another one finds behind the open cursor.
 */
export class SessionWatch {
  readonly #context: WatchContext
  readonly #watched = new Map<string, Watched>()
  #closed = false

  constructor(context: WatchContext) {
    this.#context = context
  }

  /** The session may have news soon: that is durable when this resolves. Call what it gives when they are there. */
  async expect(tenant: string, session: string): Promise<() => void> {
    const watched = this.#of(tenant, session)
    watched.expected += 1
    const done = (): void => {
      watched.expected -= 1
      this.look(tenant, session)
    }
    try {
      await this.#inTurn([tenant, session], () => this.#open(tenant, session))
    } catch (error) {
      done()
      throw error
    }
    return done
  }

  /** Tells what is new in a session. */
  look(tenant: string, session: string): void {
    if (this.#closed) return
    void this.#inTurn([tenant, session], () => this.#derive(tenant, session)).catch((error: unknown) =>
      this.#context.trouble('what happened in a session was not told', error),
    )
  }

  /** A turn begins: its events are followed. */
  begun(tenant: string, session: string): void {
    if (this.#closed) return
    void this.#inTurn([tenant, session], async () => {
      if ((await this.#context.store.get('session', tenant, session)) === undefined) return
      const row = await this.#open(tenant, session)
      this.#follow(tenant, session, (JSON.parse(row.body) as Cursor).after)
    }).catch((error: unknown) => this.#context.trouble('a session is not followed', error))
  }

  /** Resolves when nothing is under way for this tenant. */
  async settled(tenant: string): Promise<void> {
    const mine = [...this.#watched].filter(([place]) => (JSON.parse(place) as Place)[0] === tenant)
    await Promise.allSettled(mine.map(([, { last }]) => last))
  }

  /** What is not told yet is told by the next host. */
  close(): void {
    this.#closed = true
    for (const { reader } of this.#watched.values()) void reader?.return?.()
    this.#watched.clear()
  }

  #of(tenant: string, session: string): Watched {
    const place = placeOf(tenant, session)
    const watched = this.#watched.get(place) ?? {
      last: Promise.resolve(),
      expected: 0,
      followed: false,
      reader: undefined,
    }
    this.#watched.set(place, watched)
    return watched
  }

  #inTurn<T>([tenant, session]: Place, work: () => Promise<T>): Promise<T> {
    const watched = this.#of(tenant, session)
    const done = watched.last.then(work)
    const settled = done
      .catch(() => undefined)
      .then(() => {
        if (watched.last !== settled || watched.expected > 0 || watched.followed) return
        this.#watched.delete(placeOf(tenant, session))
      })
    watched.last = settled
    return done
  }

  /** The open cursor of a session. One that is new begins with what happens from now on. */
  async #open(tenant: string, session: string): Promise<Resource> {
    const { store } = this.#context
    for (;;) {
      const row = await store.get('webhook_session', tenant, session)
      if (row === undefined) await createOnce(store, await this.#newCursor(tenant, session))
      else if (row.archivedAt === null) return row
      else await store.replace(row, { ...row, version: row.version + 1, archivedAt: null })
    }
  }

  async #newCursor(tenant: string, id: string): Promise<Resource> {
    const { store, clock } = this.#context
    const row = await store.get('session', tenant, id)
    const archived = row !== undefined && row.archivedAt !== null
    const after = row === undefined ? 0 : await this.#lastTold(tenant, id)
    const cursor: Cursor = { after, place: 0, created: row !== undefined, archived, running: false }
    return toRow(tenant, id, cursor, clock.wall())
  }

  /** A turn that runs now is told from its beginning. */
  async #lastTold(tenant: string, id: string): Promise<number> {
    const session = await this.#session(tenant, id)
    const [last] = (await session?.history({ types: TOLD_EVENTS, descending: true, limit: 1 })) ?? []
    if (last === undefined) return 0
    return last.event.type === 'session.status_running' ? last.number - 1 : last.number
  }

  async #session(tenant: string, id: string): Promise<Session | undefined> {
    return this.#context.pool.session(id, { tenant }).catch((error: unknown) => {
      if (!isGone(error)) throw error
      return undefined
    })
  }

  #follow(tenant: string, session: string, after: number): void {
    const watched = this.#of(tenant, session)
    if (watched.followed) return
    watched.followed = true
    void this.#read(tenant, session, after, watched).catch((error: unknown) => {
      if (!isGone(error)) this.#context.trouble('a session is not followed any more', error)
    })
  }

  async #read(tenant: string, id: string, after: number, watched: Watched): Promise<void> {
    try {
      const session = await this.#session(tenant, id)
      if (session === undefined || !watched.followed) return
      const events = session.events({ after })
      watched.reader = events
      for await (const { event } of events) if (TOLD_EVENTS.includes(event.type)) this.look(tenant, id)
    } finally {
      watched.reader = undefined
      watched.followed = false
      this.look(tenant, id)
    }
  }

  async #derive(tenant: string, id: string): Promise<void> {
    const { store, clock } = this.#context
    const row = await store.get('webhook_session', tenant, id)
    if (row === undefined) return
    const cursor = JSON.parse(row.body) as Cursor
    const kept = await store.get('session', tenant, id)
    if (kept === undefined) return this.#gone(tenant, row, cursor)
    const resource = JSON.parse(kept.body) as StoredSession
    if (!cursor.created) {
      await this.#tell(tenant, id, cursor, {
        type: 'session.created',
        word: 'created',
        at: parseWall(resource.created_at),
      })
      cursor.created = true
    }
    const session = await this.#session(tenant, id)
    if (session !== undefined) await this.#tellEvents(tenant, session, cursor)
    if (resource.archived_at !== null && !cursor.archived) {
      await this.#tell(tenant, id, cursor, {
        type: 'session.archived',
        word: 'archived',
        at: parseWall(resource.archived_at),
      })
      cursor.archived = true
    }
    const watched = this.#of(tenant, id)
    const isRunning = cursor.running || this.#context.pool.runningSessions(tenant).includes(id)
    const isOver = !isRunning && watched.expected === 0
    if (isOver) {
      watched.followed = false
      void watched.reader?.return?.()
    }
    const after = {
      ...row,
      version: row.version + 1,
      archivedAt: isOver ? clock.wall() : null,
      body: JSON.stringify(cursor),
    }
    if (after.body === row.body && (after.archivedAt === null) === (row.archivedAt === null)) return
    // Another host has told the same meanwhile: what it has not told is told the next time.
    if (!(await store.replace(row, after))) this.look(tenant, id)
  }

  async #tellEvents(tenant: string, session: Session, cursor: Cursor): Promise<void> {
    for (;;) {
      const page = await session.history({ types: TOLD_EVENTS, after: cursor.after, limit: PAGE })
      for (const entry of page) {
        await this.#tellEvent(tenant, session.key, cursor, entry)
        cursor.after = entry.number
      }
      const last = page.findLast(({ event }) => event.type !== 'session.updated')
      if (last !== undefined)
        cursor.running = last.event.type !== 'session.status_idle' || last.event.stop_reason.type === 'requires_action'
      if (page.length === 0) return
    }
  }

  async #tellEvent(tenant: string, id: string, cursor: Cursor, { number, event }: NumberedEvent): Promise<void> {
    const at = event.processed_at === null ? this.#context.clock.wall() : parseWall(event.processed_at)
    for (const type of toldOf(event)) await this.#tell(tenant, id, cursor, { type, word: `${number} ${type}`, at })
  }

  async #gone(tenant: string, row: Resource, cursor: Cursor): Promise<void> {
    const { store, clock } = this.#context
    if (!cursor.created) {
      // Its beginning failed, or is under way.
      if (this.#of(tenant, row.id).expected > 0) return
    } else {
      await this.#tell(tenant, row.id, cursor, { type: 'session.deleted', word: 'deleted', at: clock.wall() })
    }
    await store.remove('webhook_session', tenant, row.id)
  }

  async #tell(
    tenant: string,
    session: string,
    cursor: Cursor,
    { type, word, at }: { type: WebhookEventType; word: string; at: number },
  ): Promise<void> {
    cursor.place = Math.max(at, cursor.place + 1)
    const id = idOf('webhookEvent', tenant, session, word)
    await this.#context.tell({ tenant, type, session, id, at, place: cursor.place })
  }
}

const toRow = (tenant: string, id: string, cursor: Cursor, now: number): Resource => ({
  kind: 'webhook_session',
  tenant,
  id,
  version: 1,
  createdAt: now,
  archivedAt: null,
  parent: null,
  body: JSON.stringify(cursor),
})
