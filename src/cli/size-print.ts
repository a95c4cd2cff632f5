import Table from 'cli-table3'
import { formatSize } from '../units.ts'
import type { SizeReport } from './size-report.ts'
import { styleOf } from './style.ts'

type Cell = string | number

const table = (head: string[], rows: readonly Cell[][]): string => {
  const made = new Table({
    head,
    style: { head: [], border: [] },
    colAligns: ['left', ...head.slice(1).map(() => 'right' as const)],
  })
  made.push(...rows.map((row) => row.map(String)))
  return made.toString()
}

const failures = (failed: Readonly<Record<string, number>>): string =>
  Object.entries(failed)
    .map(([name, times]) => `${times} × ${name}`)
    .join(', ')

/** Shows the report to people. */
export function printSize({ agent, baseline, start, idle, running, failed, fits, filled, config }: SizeReport): void {
  const { bold, dim, red } = styleOf(process.stdout)
  const { turns, medianBytes, p95Bytes, peakBytes } = running
  console.log(`${bold(`Agent ${agent}`)}: private memory, tools included, of ${turns} turns\n`)
  const rows: Cell[][] = [
    ['host, without a worker', formatSize(baseline.hostBytes), '', ''],
    ["the program's pages, shared by all workers", formatSize(baseline.sharedBytes), '', ''],
    ['a worker that starts, at most', '', '', formatSize(start.spikeBytes)],
    ['an idle session', formatSize(idle.medianBytes), '', ''],
    ['a running turn', formatSize(medianBytes), formatSize(p95Bytes), formatSize(peakBytes)],
  ]
  console.log(table(['', 'median', 'p95', 'peak'], rows))
  console.log(
    `\n${bold('What fits')}, with what the pool keeps back: turns at once, or sessions kept live between turns\n`,
  )
  console.log(
    table(
      ['memory', 'turns', 'live sessions'],
      fits.map(({ memoryBytes, turns: most, sessions }) => [formatSize(memoryBytes), most, sessions]),
    ),
  )
  if (filled !== undefined) {
    const { limitBytes, asking, turnsAtOnce, completed, refused, peakBytes: top, oomKills } = filled
    console.log(
      `\n${bold(`In a real box of ${formatSize(limitBytes)}`)}, ${asking} conversations asking: ${turnsAtOnce.median} turns at once (at most ${turnsAtOnce.most}), ` +
        `${completed} done, ${refused} refused, peak ${formatSize(top)}, OOM kills: ${oomKills}`,
    )
  }
  const wrong = [failures(failed), failures(filled?.failed ?? {})].filter((text) => text !== '')
  if (wrong.length > 0) console.log(red(`\nTurns that failed: ${wrong.join(', ')}`))
  console.log(`\n${bold('For the config')}${dim(' (YAML)')}\n\n${config}`)
}
