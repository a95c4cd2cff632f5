import { isDeepStrictEqual } from 'node:util'

type Options = Readonly<Record<string, unknown>>

const isPlain = (value: unknown): value is Options => {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

/** The class of an object; undefined for everything else. */
const classOf = (value: unknown): string | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? value.constructor?.name : undefined

/** A config in code makes its functions and objects anew each time that it is read: those are compared by how they look. */
function isSame(before: unknown, after: unknown): boolean {
  if (typeof before === 'function' && typeof after === 'function') return String(before) === String(after)
  if (Array.isArray(before) && Array.isArray(after))
    return before.length === after.length && before.every((item, index) => isSame(item, after[index]))
  if (isPlain(before) && isPlain(after)) return changesBetween(before, after).length === 0
  const made = classOf(before)
  if (made !== undefined && !isPlain(before)) return made === classOf(after)
  return isDeepStrictEqual(before, after)
}

/** The options that two configs differ in, by their paths: `agents.support.model`. Never what they hold: it may be secret. */
export function changesBetween(before: Options, after: Options, path = ''): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.toSorted().flatMap((name) => {
    const place = path === '' ? name : `${path}.${name}`
    const [old, next] = [before[name], after[name]]
    if (isPlain(old) && isPlain(next)) return changesBetween(old, next, place)
    return isSame(old, next) ? [] : [place]
  })
}
