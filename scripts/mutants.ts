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

/** Faults that have not been drawn yet, from all with the same chance. */
const draw = (number: number): Fault[] =>
  Array.from({ length: Math.min(number, faults.length) }, () =>
    faults.splice(Math.floor(random() * faults.length), 1),
  ).flat()

const stop = new AbortController()
const { signal } = stop
process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort())

const describe = ({ file, line, before, after, source }: Fault): string =>
  `${file}:${line}  ${before} → ${after}    ${source}`

await using stack = new AsyncDisposableStack()
const copies = await Promise.all(Array.from({ length: jobs }, async () => stack.use(await Copy.make())))
const [first] = copies
if (first === undefined) throw new Error('there is no copy')

let drawn = 0
const chosen: Fault[] = []
while (chosen.length < count && faults.length > 0 && !signal.aborted) {
  const batch = draw(count - chosen.length)
  drawn += batch.length
  chosen.push(...(await first.compiling(batch, signal)))
}
console.log(`${drawn - chosen.length} more do not compile and are left out`)
const { baseline, failing, reach } = await first.watch(chosen, signal)
for (const test of failing) console.log(`not counted, since it fails without a fault: ${test}`)

const outcomes = { tests: 0, time: 0, none: 0 }
const unnoticed: Fault[] = []
const open = chosen.values()

await Promise.all(
  copies.map(async (copy) => {
    for (const fault of open) {
      const noticedBy = await copy.tryOut(fault, reach.get(fault) ?? [], baseline, signal)
      if (noticedBy === 'stopped') return
      outcomes[noticedBy] += 1
      if (noticedBy === 'none') unnoticed.push(fault)
      console.log(`${noticedBy === 'none' ? 'UNNOTICED' : 'noticed  '} ${describe(fault)}`)
    }
  }),
)
const tried = outcomes.tests + outcomes.time + outcomes.none
console.log(`\n${tried - outcomes.none} of ${tried} faults noticed (${outcomes.time} by a timeout); seed ${seed}`)
for (const fault of unnoticed)
  console.log(`  ${describe(fault)}${reach.get(fault)?.length === 0 ? '  (no test reaches it)' : ''}`)
process.exitCode = signal.aborted ? 130 : 0
