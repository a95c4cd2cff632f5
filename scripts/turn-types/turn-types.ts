import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { callPath } from './call-path.ts'
import { typesNamed } from './named-types.ts'
import { Sources } from './program.ts'
import type { Ran } from './record.ts'

const RECORD = join(import.meta.dirname, 'record.ts')

/** So much of the baseline's types a live turn may name. */
export const MOST_OF_BASELINE = 0.7

/** The named types of a live turn in the tree at `root`, by name. The rule is in scripts/turn-types.ts. */
export function turnTypes(root: string): string[] {
  const testing = testingModule(root)
  const fakes = pathToFileURL(`${dirname(testing)}/`).href
  const ran = JSON.parse(
    execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', RECORD, join(root, 'src'), testing], {
      encoding: 'utf8',
      maxBuffer: 64 * 2 ** 20,
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  ) as Ran[]
  using sources = new Sources(root)
  return typesNamed(
    sources,
    callPath(
      sources,
      ran.filter(({ url }) => !url.startsWith(fakes)),
    ),
  )
}

/** The source of what the package exports as `./testing`. */
function testingModule(root: string): string {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, { default?: string } | string>
  }
  const testing = exports['./testing']
  const built = typeof testing === 'object' ? testing.default : undefined
  if (built === undefined) throw new Error(`${root} exports no ./testing, with which a turn could be run`)
  return join(root, built.replace(/^\.\/dist\//, 'src/').replace(/\.js$/, '.ts'))
}
