import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseSync } from 'oxc-parser'
import type { Fault } from './faults.ts'

const HELPER = 'reached.mjs'
const RECORD = 'reached.txt'

/** Writes a line for each fault and test file, once. Processes that a test starts write for their test. It is on the hottest paths. */
const helper = (record: string): string => `
import { appendFileSync } from 'node:fs'
const same = (value) => value
let test
let written = new Set()
export const reached = (number) => {
  const now = globalThis.__vitest_worker__?.filepath ?? process.env.REACHED_BY ?? ''
  if (now !== test) {
    test = process.env.REACHED_BY = now
    written = new Set()
  }
  if (written.has(number)) return same
  written.add(number)
  appendFileSync(${JSON.stringify(record)}, number + ' ' + test + '\\n')
  return same
}
`

/** Makes the sources of a copy say which test files reach which faults. */
export class Probes {
  readonly #root: string
  readonly #faults: readonly Fault[]
  readonly #originals = new Map<string, string>()
  /** In places where no call can stand. */
  readonly #unprobed = new Set<Fault>()

  constructor(root: string, faults: readonly Fault[]) {
    this.#root = root
    this.#faults = faults
  }

  async place(): Promise<void> {
    await writeFile(join(this.#root, HELPER), helper(join(this.#root, RECORD)))
    await writeFile(join(this.#root, RECORD), '')
    for (const [file, faults] of Map.groupBy(this.#faults.entries(), ([, { file }]) => file)) {
      const path = join(this.#root, file)
      const original = await readFile(path, 'utf8')
      this.#originals.set(path, original)
      let placed: [number, Fault][] = []
      for (const entry of faults) {
        if (parses(file, probed(original, [...placed, entry]))) placed = [...placed, entry]
        else this.#unprobed.add(entry[1])
      }
      const url = pathToFileURL(join(this.#root, HELPER)).href
      await writeFile(path, `import { reached as reached_ } from '${url}';${probed(original, placed)}`)
    }
  }

  async remove(): Promise<void> {
    for (const [path, text] of this.#originals) await writeFile(path, text)
  }

  /** The test files that reached each fault; all of them for one that could not be watched. */
  async read(all: readonly string[]): Promise<Map<Fault, string[]>> {
    const lines = (await readFile(join(this.#root, RECORD), 'utf8')).split('\n').filter(Boolean)
    const tests = Map.groupBy(lines, (line) => Number(line.slice(0, line.indexOf(' '))))
    const testOf = (line: string): string => line.slice(line.indexOf(' ') + 1)
    return new Map(
      this.#faults.map((fault, number) => {
        const named = (tests.get(number) ?? []).map(testOf)
        const anywhere = this.#unprobed.has(fault) || named.includes('')
        return [fault, all.filter((test) => anywhere || named.includes(join(this.#root, test)))]
      }),
    )
  }
}

/** The source with a call around each expression. The call comes first: no semicolon is missing before it. */
function probed(text: string, faults: readonly [number, Fault][]): string {
  const pieces = faults.flatMap(([number, { reached }]) => [
    { at: reached.start, order: -reached.end, text: `reached_(${number})(` },
    { at: reached.end, order: -Infinity, text: ')' },
  ])
  let [result, from] = ['', 0]
  // At one place calls end before others begin, and the wider expression begins first.
  for (const piece of pieces.toSorted((a, b) => a.at - b.at || a.order - b.order)) {
    result += text.slice(from, piece.at) + piece.text
    from = piece.at
  }
  return result + text.slice(from)
}

const parses = (file: string, text: string): boolean => parseSync(file, text).errors.length === 0
