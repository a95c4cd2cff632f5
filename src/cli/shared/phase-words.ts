import type { TurnPhase } from '../../index.ts'
import { formatDuration } from '../../units.ts'
import { brief, printable } from './style.ts'

/** Names of tools come from MCP servers. */
const DETAIL_COLUMNS = 32

/** A phase and since when, as `tool Bash, 15s`; empty while no turn runs. */
export function phaseWords(phase: TurnPhase | undefined): string {
  if (phase === undefined) return ''
  const { name, detail, since } = phase
  const what = detail === undefined ? name : `${name} ${brief(printable(detail), DETAIL_COLUMNS)}`
  return `${what}, ${formatDuration(Math.max(0, Date.now() - since))}`
}
