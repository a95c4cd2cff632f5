import type { Clock } from '../clock.ts'
import type { Store } from './store.ts'

/** One call of the store, as it ended. */
export interface StoreCall {
  operation: string
  ms: number
  failed: boolean
  /** Why; undefined when it has not failed. */
  error?: unknown
  /** How many events it was to keep; undefined for any other call. */
  events?: number
}

/** Calls that have not ended, by when they began, the oldest first. */
type Running = Set<{ begunAt: number }>

/** A store whose calls are watched. */
export interface WatchedStore {
  readonly store: Store
  /** For how long its oldest call has been running, in milliseconds; 0: none runs. */
  readonly lagMs: () => number
}

/** The same store; `note` hears of every call that takes time. */
export function watchStore(store: Store, clock: Clock, note: (call: StoreCall) => void): WatchedStore {
  const running: Running = new Set()
  return {
    store: watchedBy(store, { clock, note, running }),
    lagMs: () => {
      const [oldest] = running
      return oldest === undefined ? 0 : clock.now() - oldest.begunAt
    },
  }
}

interface Watch {
  clock: Clock
  note: (call: StoreCall) => void
  running: Running
}

function watchedBy(store: Store, how: Watch): Store {
  const watched = new Map<PropertyKey, unknown>()
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      let watching = watched.get(name)
      if (watching === undefined) {
        watching = watch(member.bind(target) as Method, String(name), how)
        watched.set(name, watching)
      }
      return watching
    },
  })
}

type Method = (...args: unknown[]) => unknown

const watch =
  (method: Method, operation: string, { clock, note, running }: Watch): Method =>
  (...args) => {
    const call = { begunAt: clock.now() }
    const kept = operation === 'appendEvents' ? { events: (args[1] as readonly unknown[]).length } : {}
    const result = method(...args)
    if (!(result instanceof Promise)) return result
    running.add(call)
    const end = (outcome: Pick<StoreCall, 'failed' | 'error'>): void => {
      running.delete(call)
      note({ operation, ms: clock.now() - call.begunAt, ...outcome, ...kept })
    }
    return result.then(
      (value: unknown) => {
        end({ failed: false })
        return value
      },
      (error: unknown) => {
        end({ failed: true, error })
        throw error
      },
    )
  }
