/** A turn of 100 MB whose reader stops: what piles up in the host. */
import { setTimeout as sleep } from 'node:timers/promises'
import { bench, reply, startRole } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import type { Round } from './shared/report.ts'

const BLOCKS = 100
const BLOCK_BYTES = 1_000_000
const PROMPT = Array.from({ length: BLOCKS }, () => `@sim text ${BLOCK_BYTES}`).join('\n')
const MIB = 2 ** 20
/** The model has answered and the process has written what it has to write when nothing was open for so long. */
const QUIET_MS = 3_000
const POLL_MS = 250
const LIMIT_MS = 120_000

/** Resolves when the model has sent all that anybody takes: its answer is complete, or held back for a while. */
async function answered({ openRequests }: Bench): Promise<void> {
  const deadline = performance.now() + LIMIT_MS
  let quietSince = performance.now()
  while (performance.now() < deadline && performance.now() - quietSince < QUIET_MS) {
    if ((await openRequests()) > 0) quietSince = performance.now()
    await sleep(POLL_MS)
  }
}

/** MiB by which a host grows while it reads the turn. */
async function growth(target: Bench, side: 'pool' | 'plain', reader: 'reads' | 'stops'): Promise<number> {
  const { dir, url, owned } = target
  const child = startRole('pressure-host.ts', [dir, url, side, reader, PROMPT], dir)
  owned.defer(() => void (child.connected && child.disconnect()))
  if (reader === 'stops') {
    await reply(child)
    await answered(target)
    child.send('go on')
  }
  const report = await reply<{ growth: number; characters: number }>(child)
  if (report.characters !== BLOCKS * BLOCK_BYTES) throw new Error(`${report.characters} characters came through`)
  return report.growth / MIB
}

await bench(async (target) => {
  const pool: Round[] = []
  const plain: Round[] = []
  const both: Round[] = []
  for (let round = 0; round < (target.quick ? 1 : 4); round += 1) {
    const poolStops = await growth(target, 'pool', 'stops')
    const plainStops = await growth(target, 'plain', 'stops')
    const poolReads = await growth(target, 'pool', 'reads')
    const plainReads = await growth(target, 'plain', 'reads')
    pool.push({ ours: [poolStops], theirs: [poolReads] })
    plain.push({ ours: [plainStops], theirs: [plainReads] })
    both.push({ ours: [poolStops], theirs: [plainStops] })
  }
  const what = 'host growth, 100 MB turn'
  const stopped = { ours: 'reader stopped', theirs: 'keeping up', unit: 'MiB', compare: 'ours - theirs' } as const
  return [
    { what: `${what}, pool`, rounds: pool, ...stopped, reach: { atMost: 32 } },
    { what: `${what}, plain SDK`, rounds: plain, ...stopped },
    {
      what: `${what}, reader stopped`,
      ours: 'pool',
      theirs: 'plain SDK',
      rounds: both,
      unit: 'MiB',
      compare: 'ours - theirs',
    },
  ]
})
