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
  const hibernated: Round[] = []
  for (let round = 0; round < (quick ? 1 : 4); round += 1) {
    const none = await host(target, ['0'])
    const many = await host(target, [String(SESSIONS)])
    hibernated.push({ ours: [many.after.rss / MIB], theirs: [none.after.rss / MIB] })
  }
  const real = quick ? 10 : 40
  const extrapolated: Round[] = []
  for (let round = 0; round < (quick ? 1 : 3); round += 1) {
    const { before, after } = await host(target, [String(real), url])
    const each = (after.used - before.used) / real
    extrapolated.push({ ours: [(before.used + each * SESSIONS) / MIB], theirs: [before.used / MIB] })
  }
  const common = { unit: 'MiB', compare: 'ours - theirs', reach: { atMost: 50 } } as const
  return [
    {
      what: `host with ${SESSIONS} hibernated sessions`,
      ours: 'resident',
      theirs: 'none',
      rounds: hibernated,
      ...common,
    },
    {
      what: `the same, from the growth with ${real} real processes`,
      ours: 'used',
      theirs: 'none',
      rounds: extrapolated,
      ...common,
    },
  ]
})
