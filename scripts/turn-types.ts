/**
 * `npm run turn-types [REF] [-- --save]`: how many named types one has to know to follow a live turn, in this tree or at a commit.
 *
 * A live turn is the second turn of a session, whose process is idle. It runs on the pool that the package exports for users'
 * tests, and V8 tells which functions were called. The fake process, clock and memory of that export are left out.
 *
 * The path of the turn is those of these functions that lie between `Session.send` and the call of `AgentProcess.send`, or
 * between reading `AgentProcess.messages` and resolving the promise of `Turn.result`. A function leads to those that it calls
 * and those that it contains. A call of an interface's member, or of a function kept in a property, leads to what stands there:
 * methods of classes that can be assigned to the interface, functions in object literals, functions assigned to the property.
 * What a function of the path calls beside it (the gate, the ledger) is used, not followed.
 *
 * Counted are the classes, interfaces and type aliases of src, without errors, that a function of the path belongs to, writes
 * (in its signature or body, `new` included), or uses a member of. The compiler says whose member it is, so a type counts
 * whether it is written or inferred. Files and folders play no part. If a landmark is missing, there is no count but an error.
 *
 * `--save` makes this commit the one to compare with: scripts/turn-types/baseline.json. Of its types at most `MOST_OF_BASELINE`
 * may be on the path now: with more, the script fails, and so does the test that says the same.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { MOST_OF_BASELINE, turnTypes } from './turn-types/turn-types.ts'
import { Tree } from './turn-types/tree.ts'

interface Baseline {
  commit: string
  types: string[]
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { save: { type: 'boolean' } } })
const [ref] = positionals
if (positionals.length > 1 || (values.save && ref === undefined)) {
  console.error('usage: npm run turn-types [REF] [-- --save]')
  process.exit(2)
}

using tree = ref === undefined ? Tree.here() : Tree.at(ref)
const types = turnTypes(tree.root)
const baselineFile = join(import.meta.dirname, 'turn-types/baseline.json')
if (values.save) {
  const baseline: Baseline = { commit: tree.name, types }
  writeFileSync(baselineFile, `${JSON.stringify(baseline, undefined, 2)}\n`)
}
const before = JSON.parse(readFileSync(baselineFile, 'utf8')) as Baseline

console.log(`${before.types.length} at ${before.commit}: ${before.types.join(', ')}`)
console.log(`${types.length} at ${tree.name}: ${types.join(', ')}`)
const gone = before.types.filter((name) => !types.includes(name))
const added = types.filter((name) => !before.types.includes(name))
console.log(`gone: ${gone.join(', ') || 'none'}`)
console.log(`new: ${added.join(', ') || 'none'}`)
console.log(`change: ${Math.round((types.length / before.types.length - 1) * 100)} %`)
const most = Math.floor(before.types.length * MOST_OF_BASELINE)
if (ref === undefined && types.length > most) {
  console.error(`too many: at most ${most}`)
  process.exitCode = 1
}
