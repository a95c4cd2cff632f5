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

/** The same store; `note` hears of every call that takes time. */
export function watchedStore(store: Store, clock: Clock, note: (call: StoreCall) => void): Store {
  const watched = new Map<PropertyKey, unknown>()
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      let watching = watched.get(name)
      if (watching === undefined) {
        watching = watch(member.bind(target) as Method, String(name), clock, note)
        watched.set(name, watching)
      }
      return watching
    },
  })
}

type Method = (...args: unknown[]) => unknown

const watch =
  (method: Method, operation: string, clock: Clock, note: (call: StoreCall) => void): Method =>
  (...args) => {
    const begunAt = clock.now()
    const kept = operation === 'appendEvents' ? { events: (args[1] as readonly unknown[]).length } : {}
    const result = method(...args)
    if (!(result instanceof Promise)) return result
    return result.then(
      (value: unknown) => {
        note({ operation, ms: clock.now() - begunAt, failed: false, ...kept })
        return value
      },
      (error: unknown) => {
        note({ operation, ms: clock.now() - begunAt, failed: true, error, ...kept })
        throw error
      },
    )
  }
