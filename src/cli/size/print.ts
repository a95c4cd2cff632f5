import { formatSize } from '../../units.ts'
import type { SizeReport } from './report.ts'
import { styleOf } from '../shared/style.ts'
import { tableOf } from '../shared/table.ts'
import type { Cell, Column } from '../shared/table.ts'
import { columnsOf } from '../shared/text.ts'

const table = (first: Column, heads: readonly string[], rows: readonly (readonly Cell[])[]): string =>
  tableOf([first, ...heads.map((head) => ({ head, align: 'right' as const }))], rows, columnsOf(process.stdout))

const failures = (failed: Readonly<Record<string, number>>): string =>
  Object.entries(failed)
    .map(([name, times]) => `${times} × ${name}`)
    .join(', ')

/** Shows the report to people. */
export function printSize({
  agent,
  baseline,
  start,
  idle,
  running,
  cores,
  failed,
  fits,
  filled,
  config,
}: SizeReport): void {
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
  console.log(table({ head: '', title: true, least: 16 }, ['median', 'p95', 'peak'], rows))
  const share = `a running turn takes ${Math.round(100 * cores.perTurn)} % of one`
  console.log(
    `\n${bold(`Cores: ${cores.available}`)}, with a fifth kept back for starts: ${share}, so they run ${cores.turns} at once`,
  )
  console.log(
    `\n${bold('What fits')}, with what the pool keeps back: turns at once, or sessions kept live between turns\n`,
  )
  const fitting = fits.map(({ memoryBytes, turns: most, boundBy, sessions }) => [
    formatSize(memoryBytes),
    most,
    boundBy,
    sessions,
  ])
  console.log(table({ head: 'memory' }, ['turns', 'bound by', 'live sessions'], fitting))
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
