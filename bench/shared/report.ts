import { seeded } from './seeded.ts'

/** What one round measured: values of the pool and of the alternative, taken in turns, so that noise hits both. */
export interface Round {
  ours: number[]
  theirs: number[]
}

export type Unit = 'ms' | 'µs' | 'turns/s' | 'events/s' | 'MiB' | '%' | 'turns' | 'sessions' | 'kills' | 'processes'

/** One line of a table. */
export interface Row {
  what: string
  ours: string
  theirs: string
  unit: Unit
  rounds: readonly Round[]
  /** `ours`: our own value is held against the reach; the other is shown beside it. */
  compare: 'ours / theirs' | 'theirs / ours' | 'ours - theirs' | 'ours'
  /** Absent: shown for comparison only. */
  reach?: { atMost: number } | { atLeast: number }
}

/** A number with its spread. */
export interface Spread {
  median: number
  p10: number
  p90: number
}

export interface Result {
  what: string
  unit: Unit
  ours: Spread & { label: string; values: number }
  theirs: Spread & { label: string; values: number }
  compare: Row['compare']
  ratio: Spread
  reach: Row['reach'] | undefined
  /** Undefined where there is no reach. */
  ok: boolean | undefined
}

const RESAMPLES = 2_000

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const place = share * (sorted.length - 1)
  const below = sorted[Math.floor(place)] ?? Number.NaN
  const above = sorted[Math.ceil(place)] ?? Number.NaN
  return below + (above - below) * (place - Math.floor(place))
}

const median = (values: readonly number[]): number => quantile(values, 0.5)

const spreadOf = (values: readonly number[]): Spread => ({
  median: median(values),
  p10: quantile(values, 0.1),
  p90: quantile(values, 0.9),
})

function compareRounds(rounds: readonly Round[], compare: Row['compare']): number {
  const ours = median(rounds.flatMap((round) => round.ours))
  const theirs = median(rounds.flatMap((round) => round.theirs))
  if (compare === 'ours') return ours
  if (compare === 'ours - theirs') return ours - theirs
  return compare === 'ours / theirs' ? ours / theirs : theirs / ours
}

/** The ratio of the medians; its spread is the middle 80 % of the ratios that rounds drawn with replacement give. */
function ratioOf({ rounds, compare }: Row): Spread {
  const random = seeded(rounds.length)
  const ratios = Array.from({ length: RESAMPLES }, () =>
    compareRounds(
      rounds.map(() => rounds[Math.floor(random() * rounds.length)] as Round),
      compare,
    ),
  )
  return { ...spreadOf(ratios), median: compareRounds(rounds, compare) }
}

export function resultOf(row: Row): Result {
  const ours = row.rounds.flatMap((round) => round.ours)
  const theirs = row.rounds.flatMap((round) => round.theirs)
  const ratio = ratioOf(row)
  const { what, unit, compare, reach } = row
  const ok =
    reach === undefined ? undefined : 'atMost' in reach ? ratio.median <= reach.atMost : ratio.median >= reach.atLeast
  return {
    what,
    unit,
    ours: { label: row.ours, values: ours.length, ...spreadOf(ours) },
    theirs: { label: row.theirs, values: theirs.length, ...spreadOf(theirs) },
    compare,
    ratio,
    reach,
    ok,
  }
}

function digits(value: number): string {
  if (Number.isInteger(value)) return String(value)
  const size = Math.abs(value)
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)
}

const shown = ({ median: middle, p10, p90 }: Spread, unit = ''): string =>
  `${digits(middle)}${unit} (${digits(p10)}–${digits(p90)})`

function shownReach(reach: Row['reach']): string {
  if (reach === undefined) return '–'
  return 'atMost' in reach ? `≤ ${reach.atMost}` : `≥ ${reach.atLeast}`
}

function cells({ what, unit, ours, theirs, compare, ratio, reach, ok }: Result): string[] {
  return [
    what,
    `${ours.label}: ${shown(ours, ` ${unit}`)}`,
    theirs.values === 0 ? '–' : `${theirs.label}: ${shown(theirs, ` ${unit}`)}`,
    `${compare} ${shown(ratio)}`,
    shownReach(reach),
    ok === undefined ? '–' : ok ? 'ok' : 'NOT REACHED',
  ]
}

/** Text for a terminal. Medians, with the tenth and ninetieth percentile in brackets. */
export function table(results: readonly Result[]): string {
  const rows = [['what', 'ours', 'the alternative', 'ratio', 'reach', ''], ...results.map(cells)]
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join(' │ ')
        .trimEnd(),
    )
    .join('\n')
}
