/** Two hundred people who talk to one host in 2 GiB at the same time, each three turns with time to think. Needs root. */
import { boxedBench, runBoxed, tellBoxed, total } from './shared/box.ts'

const LIMIT_BYTES = 2 * 2 ** 30
const TURNS_EACH = 3

const single = (value: number): number[] => [value]

await boxedBench(async (target) => {
  const people = target.quick ? 30 : 200
  const boxed = await runBoxed(target, 'crowd', LIMIT_BYTES, {
    clients: people,
    prompts: ['@sim tokens 20 pace 20'],
    thinkMs: target.quick ? [2_000, 10_000] : [10_000, 60_000],
    warmUpMs: 0,
    until: { turnsEach: TURNS_EACH },
    options: {},
  })
  tellBoxed('crowd', boxed)
  const { seen, oomKills, hostDied } = boxed
  const what = `${people} people in 2 GiB, ${TURNS_EACH} turns each`
  const row = { what, ours: 'pool', theirs: 'people', compare: 'ours' } as const
  const whole = hostDied === undefined ? seen.whole : 0
  return [
    {
      ...row,
      what: `${what}: whole conversations`,
      unit: 'sessions',
      rounds: [{ ours: single(whole), theirs: single(people) }],
      reach: { atLeast: target.quick ? people : 200 },
    },
    {
      ...row,
      what: `${what}: turns lost`,
      unit: 'turns',
      rounds: [{ ours: single(total(seen.lost)), theirs: [] }],
      reach: { atMost: 0 },
    },
    {
      ...row,
      what: `${what}: kernel OOM kills`,
      unit: 'kills',
      rounds: [{ ours: single(oomKills), theirs: [] }],
      reach: { atMost: 0 },
    },
  ]
})
