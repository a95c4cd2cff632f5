/** What a host holds for sessions that have no process. */
import type { ChildProcess } from 'node:child_process'
import { bench, reply, startRole } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import type { Round } from './shared/report.ts'

const SESSIONS = 10_000
const MIB = 2 ** 20

interface Memory {
  rss: number
  used: number
}

async function host({ dir, owned }: Bench, args: readonly string[]): Promise<{ before: Memory; after: Memory }> {
  const child: ChildProcess = startRole('memory-host.ts', [dir, ...args], dir)
  owned.defer(() => void (child.connected && child.disconnect()))
  return reply(child)
}

await bench(async (target) => {
  const { quick, url } = target
  const used: Round[] = []
  const resident: Round[] = []
  const idle: Round[] = []
  for (let round = 0; round < (quick ? 1 : 4); round += 1) {
    const none = await host(target, ['0', 'hibernate'])
    const many = await host(target, [String(SESSIONS), 'hibernate'])
    const deleted = await host(target, [String(SESSIONS), 'delete'])
    used.push({ ours: [many.after.used / MIB], theirs: [none.after.used / MIB] })
    resident.push({ ours: [many.after.rss / MIB], theirs: [deleted.after.rss / MIB] })
    idle.push({ ours: [many.after.rss / MIB], theirs: [none.after.rss / MIB] })
  }
  const real = quick ? 10 : 60
  const each: Round[] = []
  for (let round = 0; round < (quick ? 1 : 2); round += 1) {
    const { before, after } = await host(target, [String(real), 'hibernate', url])
    each.push({ ours: [after.used / MIB], theirs: [before.used / MIB] })
  }
  const what = `host with ${SESSIONS} hibernated sessions`
  const common = { unit: 'MiB', compare: 'ours - theirs' } as const
  const reach = { atMost: 50 }
  return [
    { what: `${what}, in use`, ours: 'hibernated', theirs: 'none', rounds: used, ...common, reach },
    // A host that worked is larger than one that never did: its garbage has made room. So both have worked the same.
    { what: `${what}, resident`, ours: 'hibernated', theirs: 'deleted', rounds: resident, ...common, reach },
    { what: `${what}, resident`, ours: 'hibernated', theirs: 'never had any', rounds: idle, ...common },
    {
      what: `after ${real} with real processes, in use`,
      ours: 'hibernated',
      theirs: 'before',
      rounds: each,
      ...common,
    },
  ]
})
