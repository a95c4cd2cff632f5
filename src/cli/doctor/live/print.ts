import type { LiveFinding, LiveReport } from './run.ts'
import { MOST_USD } from './run.ts'
import type { Times } from './stopwatch.ts'
import { styleOf } from '../../shared/style.ts'

/** Calls of the model that all steps make together, when each tool is called once. */
const CALLS = 17

const COLUMNS = [22, 18, 18, 10] as const

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`

const both = (times: Times | undefined): string =>
  times === undefined ? '–' : `${seconds(times.firstMs)} / ${seconds(times.wholeMs)}`

const row = (cells: readonly string[]): string =>
  cells
    .map((cell, index) => cell.padEnd(COLUMNS[index] ?? 0))
    .join(' ')
    .trimEnd()

/** Says before anything is asked what will be. */
export function announceLive(model: string, credential: string, json: boolean): void {
  console.error(
    `\nThis asks the real model (${model}) about ${CALLS} times with your credential (${credential}). It costs less than ` +
      `${MOST_USD * 100} cents, and stops when that is nearly spent. Ctrl-C ends it.\n`,
  )
  if (!json) console.log(row(['first word / whole', 'pool', 'plain SDK', 'cost']))
}

/** A line for each step, when it is done. */
export function printStep({ name, pool, plain, besides, costUsd, broken, skipped }: LiveFinding): void {
  const style = styleOf(process.stdout)
  const verdict = broken !== undefined ? style.red('BROKEN') : skipped !== undefined ? 'skipped' : style.green('ok')
  const beside = plain === undefined && besides !== undefined ? `(as ${besides})` : both(plain)
  console.log(`${row([name, both(pool), beside, `$${costUsd.toFixed(4)}`]).padEnd(72)} ${verdict}`)
  const why = broken ?? skipped
  if (why !== undefined) console.log(style.dim(`  → ${why}`))
}

export function printLive({ costUsd, broken }: LiveReport): void {
  const found = broken.length === 0 ? 'every promise was kept' : `${broken.length} not as promised`
  console.log(`\n$${costUsd.toFixed(4)} by the CLI's list prices; ${found}`)
}
