import type { SectionDelta, Sections } from './wire.ts'

/** A section as JSON by key: what is compared is what is sent. */
export type Encoded = ReadonlyMap<string, string>

export type SectionName = keyof Sections

export const NOTHING: Encoded = new Map()

/** Encodes a section once for all of its readers. Values that are undefined are left out. */
export function encode(section: object): Encoded {
  const encoded = new Map<string, string>()
  for (const [key, value] of Object.entries(section)) if (value !== undefined) encoded.set(key, JSON.stringify(value))
  return encoded
}

/** What changes a section from what a reader has into what there is, as JSON; undefined if nothing does. */
export function deltaOf(had: Encoded, is: Encoded): string | undefined {
  if (had === is) return undefined
  const set: string[] = []
  for (const [key, json] of is) if (had.get(key) !== json) set.push(`${JSON.stringify(key)}:${json}`)
  const gone: string[] = []
  for (const key of had.keys()) if (!is.has(key)) gone.push(key)
  if (set.length === 0 && gone.length === 0) return undefined
  const parts = [
    ...(set.length === 0 ? [] : [`"set":{${set.join(',')}}`]),
    ...(gone.length === 0 ? [] : [`"gone":${JSON.stringify(gone satisfies SectionDelta['gone'])}`]),
  ]
  return `{${parts.join(',')}}`
}
