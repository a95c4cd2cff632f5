const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

export function size(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return '–'
  let value = bytes
  let unit = 0
  while (Math.abs(value) >= 1_024 && unit < UNITS.length - 1) {
    value /= 1_024
    unit += 1
  }
  return `${value.toFixed(Math.abs(value) >= 100 || unit === 0 ? 0 : 1)} ${UNITS[unit]}`
}

/** Short: `350 ms`, `12.4 s`, `3 min 20 s`, `2 h 5 min`, `4 d`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`
  const seconds = Math.floor(ms / 1_000)
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`
  return `${Math.floor(seconds / 86_400)} d`
}

/** The same by the second, for what counts on before the reader's eyes. */
export const age = (ms: number): string =>
  duration(ms < 60_000 ? Math.max(0, Math.floor(ms / 1_000)) * 1_000 || 0 : ms)
    .replace(/^0 ms$/, '0 s')
    .replace(/\.0 s$/, ' s')

export const count = (value: number | null | undefined): string =>
  value === null || value === undefined ? '∞' : value.toLocaleString('en')

/** `1.2 M` tokens. */
export function many(value: number): string {
  if (value < 10_000) return count(value)
  if (value < 1_000_000) return `${(value / 1_000).toFixed(value < 100_000 ? 1 : 0)} k`
  return `${(value / 1_000_000).toFixed(1)} M`
}

export const dollars = (value: number): string => `$${value.toFixed(value >= 100 ? 0 : value >= 1 ? 2 : 4)}`

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const dateFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

export const timeOfDay = (at: number): string => clockFormat.format(at)
export const dateAndTime = (at: number): string => dateFormat.format(at)
