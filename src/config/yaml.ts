import { LineCounter, isMap, isScalar, parseDocument, visit } from 'yaml'
import type { YAMLMap } from 'yaml'
import { ConfigError } from '../errors.ts'

/** Reads a YAML config. An agent with nothing below its name is one with defaults. Throws ConfigError. */
export function parseConfigYaml(text: string): unknown {
  const lines = new LineCounter()
  // The parser's own complaint about a key that is there twice does not say which key.
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new ConfigError(`line ${line}, column ${col}`, error.message, { cause: error })
  }
  visit(document, {
    Map: (_key, map, ancestors) => refuseTwins(map, pathOf([...ancestors, map]), lines),
  })
  return withEmptyAgents(document.toJS({ maxAliasCount: 100 }))
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

function withEmptyAgents(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const { agents } = value as { agents?: unknown }
  if (typeof agents !== 'object' || agents === null || Array.isArray(agents)) return value
  const filled = Object.entries(agents).map(([name, agent]) => [name, agent ?? {}] as const)
  return { ...value, agents: Object.fromEntries(filled) }
}
