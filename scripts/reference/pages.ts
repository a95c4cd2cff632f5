import { namesIn } from './exports.ts'
import type { Declaration, Kind } from './exports.ts'

/** One entry point of the package and its page. */
export interface Entry {
  /** What a program imports: `claude-agent-pool/server`. */
  specifier: string
  /** The page's file in docs/reference. */
  page: string
  /** What it is for. */
  purpose: string
  declarations: readonly Declaration[]
  /** Types that these name, and that no entry point exports. */
  behind: readonly Declaration[]
}

const SECTIONS: readonly [title: string, isIn: (declaration: Declaration, errors: ReadonlySet<string>) => boolean][] = [
  ['Functions', ({ kind }) => kind === 'function'],
  ['Classes', ({ kind, name }, errors) => kind === 'class' && !errors.has(name)],
  ['Errors', ({ name }, errors) => errors.has(name)],
  ['Constants', ({ kind }) => kind === 'constant'],
  ['Types', ({ kind }) => kind === 'interface' || kind === 'type'],
]

const NOTICE = '<!-- `npm run reference` writes this page from the types of src. Do not edit it. -->'

const BEHIND = "The types above name these. A program reaches them through those, as in `PoolEvents['warning']`."

/** The text of every page, by file name. The same declarations always give the same text. */
export function pagesOf(entries: readonly Entry[]): Map<string, string> {
  for (const { specifier, declarations, behind } of entries) {
    const anchors = [...declarations, ...behind].map(({ name }) => name.toLowerCase())
    const double = anchors.find((anchor, at) => anchors.indexOf(anchor) !== at)
    if (double !== undefined) throw new Error(`${specifier}: two names have the anchor #${double}`)
  }
  const pages = new Map(entries.map((entry) => [entry.page, pageOf(entry, entries)]))
  return pages.set('README.md', indexOf(entries))
}

function indexOf(entries: readonly Entry[]): string {
  const rows = entries.map(
    ({ specifier, page, purpose, declarations }) =>
      `| [\`${specifier}\`](${page}) | ${purpose} | ${declarations.length} |`,
  )
  return `${NOTICE}

# API reference

Every name that the package exports, with its signature and docstring. [Library](../library.md) explains how the names work
together, and [Configuration](../configuration.md) lists the options with their defaults.

| import from | for | names |
|---|---|---|
${rows.join('\n')}
`
}

function pageOf(entry: Entry, entries: readonly Entry[]): string {
  const errors = errorsOf(entry.declarations)
  const sections = SECTIONS.flatMap(([title, isIn]) => {
    const listed = entry.declarations.filter((declaration) => isIn(declaration, errors)).toSorted(byName)
    if (listed.length === 0) return []
    return [`## ${title}`, ...listed.map((declaration) => sectionOf(declaration, entry, entries))]
  })
  const behind = entry.behind.toSorted(byName).map((declaration) => sectionOf(declaration, entry, entries))
  if (behind.length > 0) sections.push(`## Types without an export`, BEHIND, ...behind)
  return `${[NOTICE, `# ${entry.specifier}`, `${entry.purpose}.`, ...sections].join('\n\n')}\n`
}

function sectionOf({ name, doc, code, kind }: Declaration, entry: Entry, entries: readonly Entry[]): string {
  const links = namesIn(code)
    .filter((other) => other !== name)
    .flatMap((other) => linkTo(other, entry, entries) ?? [])
  return [
    `### ${name}`,
    ...(doc === '' ? [] : [doc]),
    `\`\`\`ts\n${declared(code, kind)}\n\`\`\``,
    ...(links.length === 0 ? [] : [`See ${links.join(', ')}.`]),
  ].join('\n\n')
}

/** As it stands in a declaration file, so that it is TypeScript by itself. */
const declared = (code: string, kind: Kind): string =>
  kind === 'interface' || kind === 'type'
    ? code
    : code.replaceAll(/^(?=(?:function|class|abstract class|const) )/gm, 'declare ')

function linkTo(name: string, entry: Entry, entries: readonly Entry[]): string | undefined {
  const home = [entry, ...entries].find(({ declarations, behind }) =>
    [...declarations, ...behind].some((one) => one.name === name),
  )
  if (home === undefined) return undefined
  return `[${name}](${home === entry ? '' : home.page}#${name.toLowerCase()})`
}

/** The classes that extend Error, directly or through others. */
function errorsOf(declarations: readonly Declaration[]): Set<string> {
  const errors = new Set<string>(['Error'])
  let before = 0
  while (errors.size !== before) {
    before = errors.size
    for (const { name, extends: parent } of declarations)
      if (parent !== undefined && errors.has(parent)) errors.add(name)
  }
  return errors
}

const byName = (a: Declaration, b: Declaration): number => (a.name < b.name ? -1 : 1)
