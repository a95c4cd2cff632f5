import type { Pool, PoolEvents } from '../index.ts'

type EventName = keyof PoolEvents
type Listener<Name extends EventName> = (...payload: PoolEvents[Name]) => void

/** All that hear one event of a pool, and the one listener of the pool that tells them. */
interface Hearers {
  readonly listeners: Set<Listener<EventName>>
  readonly tell: Listener<EventName>
}

type EventSource = Pick<Pool, 'on' | 'off'>

/** By pool: any number of servers on one pool count as one listener for each event. */
const heard = new WeakMap<EventSource, Map<EventName, Hearers>>()

/** What the parts of one server hear of its pool, until the server closes. */
export class PoolListeners {
  readonly #pool: EventSource
  readonly #own: { name: EventName; listener: Listener<EventName> }[] = []

  constructor(pool: EventSource) {
    this.#pool = pool
  }

  on<Name extends EventName>(name: Name, listener: Listener<Name>): void {
    const added = { name, listener: listener as Listener<EventName> }
    hearersOf(this.#pool, name).listeners.add(added.listener)
    this.#own.push(added)
  }

  off<Name extends EventName>(name: Name, listener: Listener<Name>): void {
    forget(this.#pool, name, listener as Listener<EventName>)
  }

  /** From now on nothing is heard. */
  close(): void {
    for (const { name, listener } of this.#own.splice(0)) forget(this.#pool, name, listener)
  }
}

function hearersOf(pool: EventSource, name: EventName): Hearers {
  const byName = heard.get(pool) ?? new Map<EventName, Hearers>()
  heard.set(pool, byName)
  const known = byName.get(name)
  if (known !== undefined) return known
  const listeners = new Set<Listener<EventName>>()
  const hearers = { listeners, tell: (...payload: PoolEvents[EventName]) => tellAll(listeners, payload) }
  byName.set(name, hearers)
  pool.on(name, hearers.tell)
  return hearers
}

function forget(pool: EventSource, name: EventName, listener: Listener<EventName>): void {
  const hearers = heard.get(pool)?.get(name)
  if (hearers === undefined || !hearers.listeners.delete(listener) || hearers.listeners.size > 0) return
  heard.get(pool)?.delete(name)
  pool.off(name, hearers.tell)
}

/** The pool reports what a listener throws, as a warning; the others hear the event all the same. */
function tellAll(listeners: Iterable<Listener<EventName>>, payload: PoolEvents[EventName]): void {
  const errors: unknown[] = []
  for (const listener of listeners) {
    try {
      listener(...payload)
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'several listeners threw')
}
