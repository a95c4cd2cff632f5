/**
 * Hosts that share a PostgreSQL, real agents, and one fault after the other: `npm run bench -- chaos`, after `npm run build`.
 * `--faults=N`, `--sessions=N`, `--hosts=N`, `--minutes=N`, `--seed=N`, `--only=kill,stop`, `--control`.
 */
import { bench } from './shared/bench.ts'
import { quantile } from './shared/report.ts'
import type { Row } from './shared/report.ts'
import { FAULTS } from './chaos/faults.ts'
import type { Fault } from './chaos/faults.ts'
import { chaos } from './chaos/run.ts'
import { isClean } from './chaos/verdict.ts'

const flag = (name: string): string | undefined =>
  process.argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3)

const number = (name: string, standard: number): number => Number(flag(name) ?? standard)

const silenceRow = (what: string, values: readonly number[], atMost?: number): Row[] =>
  values.length === 0
    ? []
    : [
        {
          what,
          rounds: [{ ours: [quantile(values, 0.99)], theirs: [quantile(values, 0.5)] }],
          ours: `p99 of ${values.length}`,
          theirs: 'p50',
          unit: 'ms',
          compare: 'ours',
          ...(atMost === undefined ? {} : { reach: { atMost } }),
        },
      ]

await bench(async ({ dir, url, quick, owned }) => {
  const control = process.argv.includes('--control')
  const seed = number('seed', Math.floor(Math.random() * 2 ** 31))
  const asked = (flag('only') ?? (control ? 'stop' : FAULTS.join(','))).split(',')
  const kinds = FAULTS.filter((fault) => asked.includes(fault)) satisfies Fault[]
  console.error(`seed ${seed}`)
  const { verdict, silences, happened, refused } = await chaos({
    dir,
    owned,
    modelUrl: url,
    seed,
    kinds,
    control,
    hosts: number('hosts', 4),
    sessions: number('sessions', quick ? 8 : 40),
    faults: number('faults', quick ? kinds.length : 200),
    maxMs: number('minutes', 60) * 60_000,
    say: (line) => console.error(line),
  })
  console.error(`answers that were no success:`, Object.fromEntries(refused))
  console.log(JSON.stringify({ seed, faults: happened.length, ...verdict }, undefined, 1))
  if (control ? verdict.overlaps === 0 : !isClean(verdict)) {
    console.error(control ? 'the check of overlaps is blind' : 'the hosts have failed')
    process.exitCode = 1
  }
  return [
    ...silenceRow('silence of a running session, its host killed', silences.running['kill'] ?? [], 5_000),
    ...silenceRow('silence of a running session, its host stopped', silences.running['stop'] ?? [], 5_000),
    ...silenceRow('silence of a running session, its host cut off', silences.running['cut from database'] ?? [], 5_000),
    ...silenceRow('a prompt that had not begun begins, its host killed', silences.unbegun['kill'] ?? []),
    ...silenceRow('a prompt to an idle session is taken, its host killed', silences.idle['kill'] ?? [], 3_500),
  ]
})
