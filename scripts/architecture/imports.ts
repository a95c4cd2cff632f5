import { globSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { parseSync } from 'oxc-parser'

/** One file of `src` that imports another. Both are paths below `src`. */
export interface Import {
  from: string
  to: string
  /** True if nothing of it is left at run time. */
  typesOnly: boolean
}

interface Statement {
  specifier: string
  typesOnly: boolean
}

/** Every file of a `src` folder, as paths below it, in a fixed order. */
export const filesOf = (src: string): string[] =>
  globSync('**/*.ts', { cwd: src })
    .map((file) => file.replaceAll('\\', '/'))
    .toSorted()

/** Every import between files of a `src` folder, re-exports and `import('…')` included; at most one for each pair of files. */
export function importsOf(src: string): Import[] {
  const found = new Map<string, Import>()
  for (const from of filesOf(src)) {
    for (const { specifier, typesOnly } of statementsOf(join(src, from))) {
      if (!specifier.startsWith('.')) continue
      const to = posix.join(posix.dirname(from), specifier)
      const known = found.get(`${from} ${to}`)
      found.set(`${from} ${to}`, { from, to, typesOnly: typesOnly && (known?.typesOnly ?? true) })
    }
  }
  return [...found.values()]
}

function statementsOf(path: string): Statement[] {
  const text = readFileSync(path, 'utf8')
  const { module, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`)
  return [
    ...module.staticImports.map(({ moduleRequest, entries }) => ({
      specifier: moduleRequest.value,
      typesOnly: entries.length > 0 && entries.every(({ isType }) => isType),
    })),
    ...module.staticExports.flatMap(({ entries }) =>
      entries.flatMap(({ moduleRequest, isType }) =>
        moduleRequest === null ? [] : [{ specifier: moduleRequest.value, typesOnly: isType }],
      ),
    ),
    ...module.dynamicImports.map(({ moduleRequest: { start, end } }) => ({
      specifier: text.slice(start + 1, end - 1),
      typesOnly: false,
    })),
  ]
}
