/** `npm run reference`: writes docs/reference from the types that the package exports. `--check` only compares. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Declarations } from './reference/exports.ts'
import { pagesOf } from './reference/pages.ts'

const ENTRIES = [
  { export: '.', page: 'pool.md', purpose: 'The library: pools, sessions, turns, options, errors' },
  { export: './postgres', page: 'postgres.md', purpose: 'The store in PostgreSQL' },
  { export: './server', page: 'server.md', purpose: 'The pool over HTTP, in a program' },
  { export: './simulator', page: 'simulator.md', purpose: 'The simulated model' },
  { export: './testing', page: 'testing.md', purpose: 'Fakes for the tests of a program' },
]

const project = resolve(import.meta.dirname, '..')
const folder = join(project, 'docs/reference')
const run = (words: readonly string[]): void => {
  execFileSync(process.execPath, words, { cwd: project, stdio: ['ignore', 'ignore', 'inherit'] })
}

/** The pages as the types of src are now. */
function made(): Map<string, string> {
  const root = mkdtempSync(join(tmpdir(), 'reference-'))
  try {
    const out = ['--emitDeclarationOnly', '--outDir', root]
    run(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', ...out])
    run(['node_modules/oxfmt/bin/oxfmt', '--config', '.oxfmtrc.json', root])
    const { name, exports } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as {
      name: string
      exports: Record<string, string | { types: string }>
    }
    const typed = Object.entries(exports).flatMap(([path, value]) =>
      typeof value === 'string' ? [] : [{ path, ...value }],
    )
    const read = new Declarations(root)
    const entries = typed.map(({ path, types }) => {
      const entry = ENTRIES.find((one) => one.export === path)
      if (entry === undefined) throw new Error(`package.json exports ${path}: name its page in scripts/reference.ts`)
      const declarations = read.of(types.replace('./dist/', ''))
      return { ...entry, specifier: path.replace('.', name), declarations }
    })
    const exported = new Set(entries.flatMap(({ declarations }) => declarations.map((one) => one.name)))
    const isKnown = (name: string): boolean => exported.has(name)
    return pagesOf(
      entries.map((entry) => {
        const declarations = entry.declarations.map((declaration) => read.forUsers(declaration, isKnown))
        return { ...entry, declarations, behind: read.behind(declarations, isKnown) }
      }),
    )
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

const { values } = parseArgs({ options: { check: { type: 'boolean' } } })
const pages = made()
if (values.check === true) {
  const kept = readdirSync(folder)
  const stale = [...new Set([...kept, ...pages.keys()])].filter(
    (page) => !kept.includes(page) || readFileSync(join(folder, page), 'utf8') !== pages.get(page),
  )
  for (const page of stale) console.error(`docs/reference/${page} is not what the types say: npm run reference`)
  process.exitCode = stale.length === 0 ? 0 : 1
} else {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [page, text] of pages) writeFileSync(join(folder, page), text)
  console.log(`docs/reference: ${pages.size} pages`)
}
