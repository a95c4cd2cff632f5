/** Turns whose tools suddenly take 300 MiB, in a box of 2 GiB, with the governor and without. Needs root. */
import { boxedBench, runBoxed, tellBoxed, total } from './shared/box.ts'
import type { Boxed } from './shared/box.ts'

const LIMIT_BYTES = 2 * 2 ** 30
const CLIENTS = 20
const ALLOCATE = '@sim allocate 300 for 1500'
const TEXT = '@sim tokens 40 pace 50'

const single = (value: number): number[] => [value]

await boxedBench(async (target) => {
  const load = {
    clients: CLIENTS,
    // One turn in three allocates.
    prompts: [TEXT, TEXT, ALLOCATE],
    thinkMs: [0, 500] as const,
    warmUpMs: 5_000,
    until: { ms: target.quick ? 15_000 : 60_000 },
  }
  const governor = await runBoxed(target, 'governor', LIMIT_BYTES, { ...load, options: {} })
  tellBoxed('governor', governor)
  const off = await runBoxed(target, 'off', LIMIT_BYTES, {
    ...load,
    options: { limits: { turns: CLIENTS, memory: 'none' } },
  })
  tellBoxed('no governor', off)
  const what = `${CLIENTS} clients in 2 GiB, every third turn's tool takes 300 MiB`
  const row = (which: string, unit: 'turns' | 'kills', read: (boxed: Boxed) => number) => ({
    what: `${what}: ${which}`,
    ours: 'measured',
    theirs: 'no governor',
    unit,
    rounds: [{ ours: single(read(governor)), theirs: single(read(off)) }],
  })
  const reach = { atMost: 0 }
  return [
    { ...row('hosts that died', 'kills', ({ hostDied }) => (hostDied === undefined ? 0 : 1)), compare: 'ours', reach },
    { ...row('errors without a name', 'turns', ({ seen }) => seen.unnamed), compare: 'ours', reach },
    { ...row('kernel OOM kills', 'kills', ({ oomKills }) => oomKills), compare: 'ours' },
    { ...row('turns that failed', 'turns', ({ seen }) => total(seen.lost)), compare: 'ours' },
    { ...row('turns done', 'turns', ({ seen }) => seen.completed), compare: 'ours / theirs' },
  ]
})
