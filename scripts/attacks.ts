/** `npm run test:attacks`: attacks a server from inside an agent, in each mode that this machine can do, and prints what came of it. */
import { existsSync } from 'node:fs'
import { attack, differences } from '../test/attacks/scene.ts'
import type { Outcome } from '../test/attacks/scene.ts'
import { DESIGN, MODES } from '../test/attacks/design.ts'
import type { Mode } from '../test/attacks/design.ts'

const has = (program: string): boolean => existsSync(`/usr/bin/${program}`)

/** Why this machine cannot do a mode; undefined: it can. */
function missingFor(mode: Mode): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux'
  if (mode === 'user') return process.getuid?.() === 0 ? undefined : 'needs root'
  if (mode !== 'none' && !has('bwrap')) return 'needs bubblewrap'
  return mode !== 'bubblewrap' && mode !== 'none' && !has('socat') ? 'needs socat' : undefined
}

const isRoot = process.getuid?.() === 0
const outcomes = new Map<Mode, Outcome>()
const wrong: string[] = []
for (const [at, mode] of MODES.entries()) {
  const missing = missingFor(mode)
  if (missing !== undefined) {
    console.error(`skipped: ${mode} ${missing}`)
    continue
  }
  const outcome = await attack(mode)
  outcomes.set(mode, outcome)
  wrong.push(...differences(at, outcome).map((difference) => `${mode}: ${difference}`))
}

const word = (found: boolean | null | undefined): string =>
  found === undefined || found === null ? '?' : found ? 'YES' : 'no'
const width = Math.max(...Object.values(DESIGN).map(({ attack: name }) => name.length))
const line = (name: string, cells: readonly string[]): string =>
  `${name.padEnd(width)}  ${cells.map((cell, at) => cell.padEnd((MODES[at] ?? '').length)).join('  ')}`
console.log(line(isRoot ? 'as root' : `as user ${process.getuid?.()}`, MODES))
for (const [name, { attack: title }] of Object.entries(DESIGN))
  console.log(
    line(
      title,
      MODES.map((mode) => (outcomes.has(mode) ? word(outcomes.get(mode)?.[name]) : '-')),
    ),
  )
console.log(`\n${outcomes.size} of ${MODES.length} modes; ${wrong.length} cells not as designed`)
for (const one of wrong) console.log(`  ${one}`)
process.exitCode = wrong.length === 0 ? 0 : 1
