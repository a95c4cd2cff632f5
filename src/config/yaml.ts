import { LineCounter, isAlias, isMap, isNode, isScalar, isSeq, parseDocument, visit } from 'yaml'
import type { Document, YAMLMap } from 'yaml'
import { ConfigError } from '../errors.ts'

/** What a config file holds, and where. */
export interface ConfigText {
  readonly value: unknown
  /** The line of an option, or of the map that should have it; undefined when neither is in the file. */
  readonly lineOf: (path: string) => number | undefined
}

/** Reads a config of YAML, or of JSON, which is YAML, too. An agent with nothing below its name has defaults. Throws ConfigError. */
export function parseConfigYaml(text: string, language: 'YAML' | 'JSON' = 'YAML'): ConfigText {
  const lines = new LineCounter()
  // The parser's own complaint about a key that is there twice does not say which key.
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, prettyErrors: false })
  // A tag that is not known is a warning to the parser, and its value a text that was never meant.
  const [error] = [...document.errors, ...document.warnings]
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new ConfigError(`line ${line}, column ${col}`, `is not ${language}: ${error.message}`, { cause: error })
  }
  visit(document, {
    Map: (_key, map, ancestors) => refuseTwins(map, pathOf([...ancestors, map]), lines),
  })
  return { value: withEmptyAgents(valueOf(document, lines)), lineOf: (path) => lineIn(document, lines, path) }
}

/** Throws ConfigError for aliases that the parser refuses: of nothing, or so many that they are an attack. */
function valueOf(document: Document, lines: LineCounter): unknown {
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return
      const { line, col } = lines.linePos(alias.range?.[0] ?? 0)
      throw new ConfigError(
        `line ${line}, column ${col}`,
        `*${alias.source} stands for nothing: there is no &${alias.source} before it`,
      )
    },
  })
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (cause) {
    throw new ConfigError('options', `cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function refuseTwins(map: YAMLMap, path: readonly string[], lines: LineCounter): void {
  const seen = new Map<string, number>()
  for (const { key } of map.items) {
    if (!isScalar(key)) continue
    const name = String(key.value)
    const line = lines.linePos(key.range?.[0] ?? 0).line
    const first = seen.get(name)
    if (first !== undefined) {
      throw new ConfigError([...path, name].join('.'), `is there twice, in lines ${first} and ${line}; keep one`)
    }
    seen.set(name, line)
  }
}

/** The keys that lead to the last of these nodes. */
function pathOf(nodes: readonly unknown[]): string[] {
  return nodes.flatMap((node, index) => {
    const below = nodes[index + 1]
    if (!isMap(node)) return []
    const pair = node.items.find((item) => item === below)
    return isScalar(pair?.key) ? [String(pair.key.value)] : []
  })
}

/** Follows a path as far as it leads. Names may have dots themselves, so that the path is not split at each. */
function lineIn(document: Document, lines: LineCounter, path: string): number | undefined {
  let offset: number | undefined
  let node: unknown = document.contents
  let rest = path
  while (rest !== '') {
    const next = isMap(node)
      ? node.items
          .flatMap(({ key, value }) => (isScalar(key) ? [{ name: String(key.value), at: key.range?.[0], value }] : []))
          .find(({ name }) => rest === name || rest.startsWith(`${name}.`))
      : isSeq(node)
        ? entryOf(node.items, rest)
        : undefined
    if (next?.at === undefined) break
    offset = next.at
    node = isAlias(next.value) ? next.value.resolve(document) : next.value
    rest = rest.slice(next.name.length + 1)
  }
  return offset === undefined ? undefined : lines.linePos(offset).line
}

function entryOf(items: readonly unknown[], path: string): { name: string; at: number | undefined; value: unknown } {
  const name = /^\d+/.exec(path)?.[0] ?? ''
  const value = items[Number(name)]
  return { name, at: isNode(value) ? value.range?.[0] : undefined, value }
}

function withEmptyAgents(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const { agents } = value as { agents?: unknown }
  if (typeof agents !== 'object' || agents === null || Array.isArray(agents)) return value
  const filled = Object.entries(agents).map(([name, agent]) => [name, agent ?? {}] as const)
  return { ...value, agents: Object.fromEntries(filled) }
}
