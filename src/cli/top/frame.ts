import type { HostOverview } from '../../control/operations.ts'
import { formatDuration, formatSize } from '../../units.ts'
import { oneLine } from '../shared/exit.ts'
import { phaseWords } from '../shared/phase-words.ts'
import { printable } from '../shared/style.ts'
import type { Style } from '../shared/style.ts'
import type { Row, Sort } from './rows.ts'

/** What the screen shows beside the host. */
export interface View {
  dataDir: string
  sort: Sort
  /** The row that keys act on; undefined: none is marked. */
  selected: string | undefined
  /** A question that waits for y, or what came of the last action. */
  says: string | undefined
  columns: number
  /** Lines of the terminal; Infinity: all rows. */
  lines: number
}

const KEYS = 'm memory  a age  p phase   ↑↓ select  i interrupt  h hibernate  c close  C close now  q quit'

interface Column {
  head: string
  /** Characters; undefined: what the others leave. */
  width?: number
  right?: true
  /** Left out on screens that are narrower than this. */
  from?: number
  cell: (row: Row, now: number) => string
}

const COLUMNS: readonly Column[] = [
  { head: 'SESSION', cell: sessionWords },
  { head: 'AGENT', width: 14, from: 70, cell: ({ agent }) => agent },
  { head: 'STATE', width: 10, from: 60, cell: ({ state }) => state },
  { head: 'PHASE', cell: ({ phase }) => (phase === undefined ? '-' : phaseWords(phase)) },
  {
    head: 'MEMORY',
    width: 9,
    right: true,
    cell: ({ memoryBytes }) => (memoryBytes === undefined ? '-' : formatSize(memoryBytes)),
  },
  { head: 'PROCS', width: 5, right: true, from: 100, cell: ({ processes }) => String(processes) },
  { head: 'TURNS', width: 5, right: true, from: 100, cell: ({ turns }) => (turns === undefined ? '-' : String(turns)) },
  { head: 'AGE', width: 7, right: true, cell: ({ since }, now) => formatDuration(Math.max(0, now - since)) },
  { head: 'WORKER', width: 12, from: 120, cell: ({ worker }) => worker ?? '-' },
]

function sessionWords({ tenant, session }: Row): string {
  if (session === undefined) return '(spare)'
  return tenant === 'default' ? session : `${tenant}/${session}`
}

/** At most so many characters, on one line, without what could move the cursor. */
function cut(text: string, width: number): string {
  const line = oneLine(printable(text))
  return line.length <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`
}

type Fitted = Column & { width: number }

/** Of the room that the others leave, session and phase get half each. */
const MOST_EACH = 40
const LEAST_EACH = 4

/** The columns that a screen of this width has room for. */
function columnsFor(width: number): Fitted[] {
  const shown = COLUMNS.filter(({ from = 0 }) => width >= from)
  const taken = shown.reduce((sum, column) => sum + (column.width ?? 0), 0) + shown.length - 1
  const each = Math.max(LEAST_EACH, Math.min(MOST_EACH, Math.floor((width - taken) / 2)))
  return shown.map((column) => ({ ...column, width: column.width ?? each }))
}

function lineOf(cells: readonly string[], columns: readonly Fitted[], width: number): string {
  const padded = columns.map(({ width: most, right }, index) => {
    const fitted = cut(cells[index] ?? '', most)
    return right === true ? fitted.padStart(most) : fitted.padEnd(most)
  })
  return cut(padded.join(' '), width).padEnd(Number.isFinite(width) ? width : 0)
}

const BAR = 24

function memoryLine({ memory }: HostOverview['stats']): string {
  // Infinity has no words in JSON.
  const limit = memory.limitBytes as number | null
  if (limit === null || !Number.isFinite(limit))
    return `memory: workers use ${formatSize(memory.workersBytes)}, no limit`
  const full = Math.round(Math.min(1, memory.usedBytes / limit) * BAR)
  const bar = `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}]`
  const pressure = memory.pressure === 'none' ? '' : `, pressure ${memory.pressure}`
  return `memory ${bar} ${formatSize(memory.usedBytes)} of ${formatSize(limit)}${pressure}`
}

function turnsLine({ turns, waits, workers, memory }: HostOverview['stats']): string {
  const limits = [turns.limit as number | null, memory.turnsThatFit as number | null].map((each) => each ?? Infinity)
  const most = Math.min(...limits)
  const reasons = Object.entries(waits.byReason).map(([why, n]) => `${why} ${n}`)
  const waiting = reasons.length === 0 ? `${turns.waiting}` : `${turns.waiting} (${reasons.join(', ')})`
  return `turns ${turns.running}${Number.isFinite(most) ? ` of ${most}` : ''}, waiting ${waiting} · workers ${workers.total}: ${workers.busy} busy, ${workers.idle} idle, ${workers.spares} spare`
}

/** The whole screen, line by line: none is wider than the terminal, and there are no more than it has. */
export function frameOf(host: HostOverview, rows: readonly Row[], view: View, style: Style): string[] {
  const { columns: width, lines, sort, selected } = view
  const shown = columnsFor(width)
  const head = [
    style.dim(cut(`claude-agent-pool top · host ${host.pid} · ${view.dataDir} · by ${sort}`, width)),
    style.bold(cut(`${host.verdict.state}: ${host.verdict.says}`, width)),
    ...host.verdict.next.slice(0, 1).map((advice) => cut(`  → ${advice}`, width)),
    cut(turnsLine(host.stats), width),
    cut(memoryLine(host.stats), width),
    '',
    style.dim(
      lineOf(
        shown.map(({ head: name }) => name),
        shown,
        width,
      ),
    ),
  ]
  const foot = cut(view.says ?? KEYS, width)
  const room = Math.max(1, lines - head.length - 1)
  const body = windowOf(rows, selected, room).map((row) => {
    const line = lineOf(
      shown.map(({ cell }) => cell(row, host.now)),
      shown,
      width,
    )
    return row.id === selected ? style.inverse(line) : line
  })
  if (rows.length === 0) body.push(cut('No worker runs, and no turn waits.', width))
  return [...head, ...body, view.says === undefined ? style.dim(foot) : style.bold(foot)].slice(0, lines)
}

/** The rows that fit, with the selected one among them. */
function windowOf(rows: readonly Row[], selected: string | undefined, room: number): readonly Row[] {
  const at = rows.findIndex(({ id }) => id === selected)
  const from = Math.max(0, Math.min(at - Math.floor(room / 2), rows.length - room))
  return at === -1 ? rows.slice(0, room) : rows.slice(from, from + room)
}
