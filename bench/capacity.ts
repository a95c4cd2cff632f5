/** Turns at once in 2 GiB: measured memory, a fixed budget for each turn, and no budget. Needs root: it makes memory cgroups. */
import { boxedBench, runBoxed, tellBoxed, total } from './shared/box.ts'
import type { Boxed } from './shared/box.ts'
import { quantile } from './shared/report.ts'

const GIB = 2 ** 30
const LIMIT_BYTES = 2 * GIB
const MIB = 2 ** 20
const CLIENTS = 50
/** What a fixed budget of 400 MiB for the host and 500 MiB for each turn admits here. */
const FIXED_TURNS = Math.floor((LIMIT_BYTES / MIB - 400) / 500)

const NO_GOVERNOR = { turns: CLIENTS, memory: 'none' }

await boxedBench(async (target) => {
  const load = {
    clients: CLIENTS,
    prompts: ['@sim tokens 100 pace 50'],
    thinkMs: [0, 0] as const,
    warmUpMs: target.quick ? 10_000 : 20_000,
    until: { ms: target.quick ? 15_000 : 60_000 },
  }
  const governor = await runBoxed(target, 'governor', LIMIT_BYTES, { ...load, options: {} })
  tellBoxed('governor', governor)
  const fixed = await runBoxed(target, 'fixed', LIMIT_BYTES, { ...load, options: { limits: { turns: FIXED_TURNS } } })
  tellBoxed('fixed budget', fixed)
  const off = await runBoxed(target, 'off', LIMIT_BYTES, { ...load, options: { limits: NO_GOVERNOR } })
  tellBoxed('no governor', off)

  const what = `${CLIENTS} clients in 2 GiB`
  const single = (value: number): number[] => [value]
  const row = (which: string, unit: 'turns' | 'kills' | 'ms', read: (boxed: Boxed) => number[]) => ({
    what: `${what}: ${which}`,
    ours: 'measured',
    unit,
    read,
  })
  const inFlight = row('turns in flight', 'turns', ({ seen }) => seen.inFlight)
  const against = (theirs: string, other: Boxed, { read, ...rest }: ReturnType<typeof row>) => ({
    ...rest,
    theirs,
    rounds: [{ ours: read(governor), theirs: read(other) }],
  })
  const fixedName = `fixed budget (${FIXED_TURNS})`
  const answering = row('answered by the model at once', 'turns', (boxed) => boxed.answering)
  const completed = row('turns done in that time', 'turns', ({ seen }) => single(seen.completed))
  const kills = row('kernel OOM kills', 'kills', ({ oomKills }) => single(oomKills))
  const lost = row('turns lost', 'turns', ({ seen, hostDied }) =>
    single(hostDied === undefined ? total(seen.lost) : Infinity),
  )
  const shed = row('send() to refusal, p99', 'ms', ({ seen }) => single(quantile(seen.shedMs, 0.99)))
  const silent = row('refused without retryAfterMs', 'turns', ({ seen }) => single(seen.shedWithoutRetry))
  return [
    { ...against(fixedName, fixed, inFlight), compare: 'ours / theirs', reach: { atLeast: 3 } },
    { ...against('no governor', off, inFlight), compare: 'ours / theirs' },
    { ...against(fixedName, fixed, answering), compare: 'ours / theirs' },
    { ...against(fixedName, fixed, completed), compare: 'ours / theirs' },
    { ...against('no governor', off, completed), compare: 'ours / theirs' },
    { ...against('no governor', off, kills), compare: 'ours', reach: { atMost: 0 } },
    { ...against('no governor', off, lost), compare: 'ours', reach: { atMost: 0 } },
    { ...against(fixedName, fixed, shed), compare: 'ours', reach: { atMost: 5 } },
    { ...against(fixedName, fixed, silent), compare: 'ours', reach: { atMost: 0 } },
  ]
})
