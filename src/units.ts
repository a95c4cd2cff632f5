import { ConfigError } from './errors.ts'

const MS_PER_UNIT = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const BYTES_PER_UNIT = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, KB: 1e3, MB: 1e6, GB: 1e9 } as const

/** How a duration and a size are written. */
export const DURATION_EXAMPLE = '30m'
export const BYTES_EXAMPLE = '2GiB'

function parse(path: string, text: string, units: Readonly<Record<string, number>>, example: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(text.trim())
  const unit = match?.[2] === undefined ? undefined : units[match[2]]
  if (match?.[1] === undefined || unit === undefined) {
    const known = Object.keys(units).join(', ')
    throw new ConfigError(path, `"${text}" is not a number with a unit; write it like "${example}" (units: ${known})`)
  }
  const value = Number(match[1]) * unit
  if (value <= 0 || !Number.isFinite(value))
    throw new ConfigError(path, `"${text}" must be more than 0, like "${example}"`)
  return value
}

/** Milliseconds of `"250ms"`, `"30s"`, `"5m"`, `"6h"`, `"2d"`. Throws {@link ConfigError} naming `path`. */
export const parseDuration = (path: string, text: string): number => parse(path, text, MS_PER_UNIT, DURATION_EXAMPLE)

/** Bytes of `"512MiB"`, `"2GiB"`, `"1GB"`. Throws {@link ConfigError} naming `path`. */
export const parseSize = (path: string, text: string): number =>
  Math.round(parse(path, text, BYTES_PER_UNIT, BYTES_EXAMPLE))

/** `1536 ms` → `1.5s`: two significant places, for messages. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`
  const [unit, size] = ms < 60_000 ? ['s', 1_000] : ms < 3_600_000 ? ['m', 60_000] : ['h', 3_600_000]
  return `${Number((ms / Number(size)).toFixed(1))}${unit}`
}

/** Bytes as `105 MiB`, for messages. */
export function formatSize(bytes: number): string {
  if (bytes >= 2 ** 30) return `${Number((bytes / 2 ** 30).toFixed(1))} GiB`
  return bytes >= 2 ** 20 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${Math.ceil(bytes / 2 ** 10)} KiB`
}
