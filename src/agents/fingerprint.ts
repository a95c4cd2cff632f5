import { createHash, randomUUID } from 'node:crypto'

/** Functions and class instances are the same only if they are the same object. */
const identities = new WeakMap<object, string>()

function identityOf(value: object): string {
  let identity = identities.get(value)
  if (identity === undefined) {
    identity = randomUUID()
    identities.set(value, identity)
  }
  return identity
}

/** Lists stay lists; everything else that is not plain JSON is tagged, so that no two kinds look the same. */
function canonical(value: unknown): unknown {
  if (typeof value === 'function') return { identity: identityOf(value) }
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? { bigint: `${value}` } : value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return { identity: identityOf(value) }
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined)
  return { object: entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, entry]) => [key, canonical(entry)]) }
}

/** The same of what another process can have as well: functions and instances are alike if their names are. */
function portable(value: unknown): unknown {
  if (typeof value === 'function') return { function: value.name }
  if (Array.isArray(value)) return value.map(portable)
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? { bigint: `${value}` } : value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return { instance: value.constructor?.name ?? '' }
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined)
  return { object: entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, entry]) => [key, portable(entry)]) }
}

/** A hash of a definition that is the same at each host that has it. */
export const formOf = (definition: unknown): string =>
  createHash('sha256')
    .update(JSON.stringify(portable(definition)))
    .digest('hex')
    .slice(0, 16)

/** A hash of everything that is fixed when a process starts. A worker serves only its own fingerprint. */
export const fingerprintOf = (parts: unknown): string =>
  createHash('sha256')
    .update(JSON.stringify(canonical(parts)))
    .digest('hex')
    .slice(0, 16)
