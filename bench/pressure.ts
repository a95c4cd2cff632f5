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

/** MiB by which a host grows at most: until its reader goes on (or to the end, if it never stops), and in the whole turn. */
interface Growth {
  stopped: number
  turn: number
}

async function growth(target: Bench, side: 'pool' | 'plain', reader: 'reads' | 'stops'): Promise<Growth> {
  const { dir, url, owned } = target
  const child = startRole('pressure-host.ts', [dir, url, side, reader, PROMPT], dir)
  owned.defer(() => void (child.connected && child.disconnect()))
  if (reader === 'stops') {
    await reply(child)
    await answered(target)
    child.send('go on')
  }
  const { stopped, turn, characters } = await reply<Growth & { characters: number }>(child)
  if (characters !== BLOCKS * BLOCK_BYTES) throw new Error(`${characters} characters came through`)
  return { stopped: stopped / MIB, turn: turn / MIB }
}

await bench(async (target) => {
  const pool: Round[] = []
  const plain: Round[] = []
  const poolTurns: Round[] = []
  const plainTurns: Round[] = []
  for (let round = 0; round < (target.quick ? 1 : 5); round += 1) {
    const poolStops = await growth(target, 'pool', 'stops')
    const plainStops = await growth(target, 'plain', 'stops')
    const poolReads = await growth(target, 'pool', 'reads')
    const plainReads = await growth(target, 'plain', 'reads')
    pool.push({ ours: [poolStops.stopped], theirs: [poolReads.stopped] })
    plain.push({ ours: [plainStops.stopped], theirs: [plainReads.stopped] })
    poolTurns.push({ ours: [poolStops.turn], theirs: [poolReads.turn] })
    plainTurns.push({ ours: [plainStops.turn], theirs: [plainReads.turn] })
  }
  const what = 'host growth, 100 MB turn'
  const stopped = { ours: 'reader stopped', theirs: 'keeping up', unit: 'MiB', compare: 'ours - theirs' } as const
  const resumed = { ...stopped, ours: 'stopped, then read on' }
  return [
    { what: `${what}, pool`, rounds: pool, ...stopped, reach: { atMost: 32 } },
    { what: `${what}, plain SDK`, rounds: plain, ...stopped },
    { what: `${what}, pool`, rounds: poolTurns, ...resumed, reach: { atMost: 32 } },
    { what: `${what}, plain SDK`, rounds: plainTurns, ...resumed },
  ]
})
