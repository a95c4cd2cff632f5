/** `npm run mutants -- [COUNT] [--seed N] [--only PATH]`: makes one-token faults in src, one at a time, and names those that no unit or model test notices. */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { seeded } from '../bench/shared/seeded.ts'
import { Copy } from './mutants/copy.ts'
import { faultsOf, sourceFiles } from './mutants/faults.ts'
import type { Fault } from './mutants/faults.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string' }, only: { type: 'string', default: 'src/' }, jobs: { type: 'string' } },
})
const count = Number(positionals[0] ?? 100)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
const jobs = Number(values.jobs ?? availableParallelism())
if (![count, seed, jobs].every(Number.isSafeInteger) || count < 1 || jobs < 1) {
  console.error('usage: npm run mutants -- [COUNT] [--seed N] [--only PATH] [--jobs N]')
  process.exit(2)
}

const files = sourceFiles().filter((file) => file.startsWith(values.only))
const faults = files.flatMap((file) => faultsOf(file))
const random = seeded(seed)
console.log(`${faults.length} possible faults in ${files.length} files; seed ${seed}`)

/** A fault that has not been drawn yet, from all with the same chance. */
function draw(): Fault | undefined {
  const [fault] = faults.splice(Math.floor(random() * faults.length), 1)
  return fault
}

const outcomes = { tests: 0, time: 0, none: 0, compiler: 0 }
const unnoticed: Fault[] = []
const stop = new AbortController()
process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort())

async function work(): Promise<void> {
  await using copy = await Copy.make()
  await copy.measure(stop.signal)
  while (!stop.signal.aborted && outcomes.tests + outcomes.time + outcomes.none + copies.pending < count) {
    const fault = draw()
    if (fault === undefined) return
    copies.pending += 1
    const noticedBy = await copy.tryOut(fault, stop.signal)
    copies.pending -= 1
    if (noticedBy === 'stopped') return
    outcomes[noticedBy] += 1
    if (noticedBy === 'none') unnoticed.push(fault)
    if (noticedBy !== 'compiler') console.log(`${noticedBy === 'none' ? 'UNNOTICED' : 'noticed  '} ${describe(fault)}`)
  }
}

const copies = { pending: 0 }
const describe = ({ file, line, before, after, source }: Fault): string =>
  `${file}:${line}  ${before} → ${after}    ${source}`

await Promise.all(Array.from({ length: jobs }, work))
const tried = outcomes.tests + outcomes.time + outcomes.none
console.log(`\n${tried - outcomes.none} of ${tried} faults noticed (${outcomes.time} by a timeout); seed ${seed}`)
console.log(`${outcomes.compiler} more did not compile and were left out`)
for (const fault of unnoticed) console.log(`  ${describe(fault)}`)
process.exitCode = stop.signal.aborted ? 130 : 0
