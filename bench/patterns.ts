/** The hosting patterns on five traffics, simulated: the pool's own policy, no processes. `--plot FILE` draws it. */
import { writeFileSync } from 'node:fs'
import { readResidency } from '../src/options/residency.ts'
import type { Pattern } from '../src/options/residency.ts'
import { host } from './shared/hosting.ts'
import type { Figures } from './shared/hosting.ts'
import { plot } from './shared/plot.ts'
import { traffics } from './shared/traffic.ts'

const SEED = 20_260_101
const GIB = 2 ** 30
const PATTERNS: readonly Pattern[] = ['single', 'ephemeral', 'hybrid', 'long-running', 'adaptive']

/** Shares of all turns, by which the figures differ from seed to seed. */
const NOISE = 0.005
const SHED_NOISE = 0.002

/** Swap beside the memory, for `residency.freeze`. */
const SWAPS_GIB = [4, 8]

interface Row extends Figures {
  traffic: string
  memoryGiB: number
  pattern: Pattern
  liveRatio: number
  startsPerTurn: number
}

const args = process.argv.slice(2)
const quick = args.includes('--quick')
const memories = quick ? [2, 8] : [1, 2, 4, 8, 16]

const rows = traffics(SEED, quick ? 1 : 3).flatMap((traffic) =>
  memories.flatMap((memoryGiB) =>
    PATTERNS.map((pattern): Row => {
      const figures = host(traffic, readResidency({ pattern }), { memoryBytes: memoryGiB * GIB })
      const { live, starts, turns } = figures
      const ratios = { liveRatio: live / turns, startsPerTurn: starts / turns }
      return { traffic: traffic.name, memoryGiB, pattern, ...ratios, ...figures }
    }),
  ),
)

/** The fixed patterns on the same traffic in the same memory, that refuse no more. */
function rivals({ traffic, memoryGiB, shed, turns }: Row): Row[] {
  return rows.filter(
    (row) =>
      row.traffic === traffic &&
      row.memoryGiB === memoryGiB &&
      row.pattern !== 'adaptive' &&
      row.shed <= shed + SHED_NOISE * turns,
  )
}

const asGood = (row: Row): boolean =>
  rivals(row).length > 0 &&
  rivals(row).every(
    (rival) => row.liveRatio >= rival.liveRatio - NOISE && row.startsPerTurn <= rival.startsPerTurn + NOISE,
  )

const adaptive = rows.filter(({ pattern }) => pattern === 'adaptive')
const worse = adaptive.filter((row) => !asGood(row))

const gib = (bytes: number): string => (bytes / GIB).toFixed(2)

function line({
  traffic,
  memoryGiB,
  pattern,
  liveRatio,
  startsPerTurn,
  peakBytes,
  meanBytes,
  shed,
  turns,
}: Row): string {
  const cells = [
    traffic,
    `${memoryGiB} GiB`,
    pattern,
    `${(100 * liveRatio).toFixed(1)} %`,
    startsPerTurn.toFixed(3),
    gib(peakBytes),
    gib(meanBytes),
    `${((100 * shed) / (turns + shed)).toFixed(1)} %`,
  ]
  return `| ${cells.join(' | ')} |`
}

const drawing = args.indexOf('--plot')
if (drawing !== -1) writeFileSync(args[drawing + 1] ?? 'patterns.svg', plot(rows, PATTERNS))

if (args.includes('--json'))
  console.log(JSON.stringify({ quick, seed: SEED, rows, frozen: frozen(), worse: worse.length }))
else {
  console.log('| traffic | memory | pattern | live turns | starts a turn | peak GiB | mean GiB | shed |')
  console.log('|---|---|---|---|---|---|---|---|')
  for (const row of rows) console.log(line(row))
  const share = `${(100 * NOISE).toFixed(1)} % of turns`
  console.log(
    `\nadaptive is as good as the best fixed pattern, within ${share}, in ${adaptive.length - worse.length} of ${adaptive.length} cases\n`,
  )
  console.log(
    '| adaptive, idle processes frozen, 2 GiB | swap | turns that find their process | frozen until then | shed |',
  )
  console.log('|---|---|---|---|---|')
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
  for (const { traffic, swapGiB, found, thawed, shed } of frozen())
    console.log(`| ${[traffic, `${swapGiB} GiB`, percent(found), percent(thawed), percent(shed)].join(' | ')} |`)
}
if (worse.length > 0) process.exitCode = 1

/** Idle processes frozen, in 2 GiB: the share of turns that find theirs, live or frozen. */
function frozen(): { traffic: string; swapGiB: number; found: number; thawed: number; shed: number }[] {
  return traffics(SEED, quick ? 1 : 3).flatMap((traffic) =>
    SWAPS_GIB.map((swapGiB) => {
      const machine = { memoryBytes: 2 * GIB, swapBytes: swapGiB * GIB }
      const { live, thawed, shed, turns } = host(traffic, readResidency({ freeze: 'auto' }), machine)
      return {
        traffic: traffic.name,
        swapGiB,
        found: live / turns,
        thawed: thawed / turns,
        shed: shed / (turns + shed),
      }
    }),
  )
}
