/** What a host holds for sessions that have no process. */
import type { ChildProcess } from 'node:child_process'
import { SMALL_YOUNG_GENERATION, bench, reply, startRole } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import type { Round } from './shared/report.ts'

const SESSIONS = 10_000
const MIB = 2 ** 20

interface Memory {
  rss: number
  used: number
}

async function host(
  { dir, owned }: Bench,
  args: readonly string[],
  wrapper: readonly string[] = [],
): Promise<{ before: Memory; after: Memory }> {
  const child: ChildProcess = startRole('memory-host.ts', [dir, ...args], dir, wrapper)
  owned.defer(() => void (child.connected && child.disconnect()))
  return reply(child)
}

interface Hosts {
  many: Memory
  none: Memory
}

async function manyAndNone(target: Bench, wrapper?: readonly string[]): Promise<Hosts> {
  const { after: none } = await host(target, ['0'], wrapper)
  const { after: many } = await host(target, [String(SESSIONS)], wrapper)
  return { many, none }
}

const roundOf = ({ many, none }: Hosts, what: keyof Memory): Round => ({
  ours: [many[what] / MIB],
  theirs: [none[what] / MIB],
})

await bench(async (target) => {
  const { quick, url } = target
  const used: Round[] = []
  const resident: Round[] = []
  const bounded: Round[] = []
  for (let round = 0; round < (quick ? 1 : 4); round += 1) {
    const hosts = await manyAndNone(target)
    used.push(roundOf(hosts, 'used'))
    resident.push(roundOf(hosts, 'rss'))
    bounded.push(roundOf(await manyAndNone(target, SMALL_YOUNG_GENERATION), 'rss'))
  }
  const real = quick ? 10 : 60
  const each: Round[] = []
  for (let round = 0; round < (quick ? 1 : 2); round += 1) {
    const { before, after } = await host(target, [String(real), url])
    each.push({ ours: [after.used / MIB], theirs: [before.used / MIB] })
  }
  const what = `host with ${SESSIONS} hibernated sessions`
  const common = { unit: 'MiB', compare: 'ours - theirs' } as const
  const reach = { atMost: 50 }
  return [
    { what: `${what}, in use`, ours: 'hibernated', theirs: 'none', rounds: used, ...common, reach },
    {
      what: `${what}, resident, --max-semi-space-size=2`,
      ours: 'hibernated',
      theirs: 'none',
      rounds: bounded,
      ...common,
      reach,
    },
    { what: `${what}, resident`, ours: 'hibernated', theirs: 'none', rounds: resident, ...common },
    {
      what: `after ${real} with real processes, in use`,
      ours: 'hibernated',
      theirs: 'before',
      rounds: each,
      ...common,
    },
  ]
})
