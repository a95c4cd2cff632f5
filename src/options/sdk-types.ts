import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** The SDK that the names in this package were taken from. A later one may have more. */
export const NAMES_OF_SDK = '0.3.332'

let installed: { version: string; types: string; tools: string } | undefined

/** The type declarations of the SDK that is installed here; empty when they are not on disk, in a bundle for instance. */
function readInstalled(): { version: string; types: string; tools: string } {
  if (installed !== undefined) return installed
  const read = (name: string): string => {
    try {
      const entry = createRequire(import.meta.url).resolve('@anthropic-ai/claude-agent-sdk')
      return readFileSync(join(dirname(entry), name), 'utf8')
    } catch {
      return ''
    }
  }
  const { version = '' } = JSON.parse(read('package.json') || '{}') as { version?: string }
  installed = { version, types: read('sdk.d.ts'), tools: read('sdk-tools.d.ts') }
  return installed
}

/** The declaration of a type or an interface, up to its last line. */
function declarationOf(type: string): string | undefined {
  const { types } = readInstalled()
  const head = new RegExp(String.raw`^(?:export )?declare (?:type|interface|const) ${type}\b.*`, 'm').exec(types)
  if (head === null) return undefined
  const end = /^(?:\}.*|\S.*;)$/m.exec(types.slice(head.index))
  return types.slice(head.index, head.index + (end === null ? 0 : end.index + end[0].length))
}

/** The names of the properties of a type of the installed SDK; none when it has no such type. */
export function propertiesOf(type: string): string[] {
  const found = (declarationOf(type) ?? '').matchAll(/^ {4}(?:readonly )?['"]?([\w$]+)['"]?\??:/gm)
  return [...found].map(([, name = '']) => name)
}

/** Whether the installed SDK knows a name that this package does not: a property anywhere in the type, or one of its literals. */
export function sdkDeclares(type: string, name: string): boolean {
  if (!/^[\w$]+$/.test(name)) return false
  const declaration = declarationOf(type) ?? ''
  const property = new RegExp(String.raw`^ +(?:readonly )?['"]?${name.replaceAll('$', String.raw`\$`)}['"]?\??:`, 'm')
  return property.test(declaration) || (declaration.split('\n', 1)[0] ?? '').includes(`'${name}'`)
}

/** Whether the installed SDK names a built-in tool that this package does not know. */
export function sdkDeclaresTool(name: string): boolean {
  const { types, tools } = readInstalled()
  if (!/^[A-Z]\w*$/.test(name)) return false
  return tools.includes(`interface ${name}Input `) || types.includes(`'${name}'`) || types.includes(`"${name}"`)
}

/** Whether the SDK may have tools that neither this package nor its own types name. */
export function sdkIsNewer(version: string = readInstalled().version): boolean {
  const parts = (text: string): number[] => text.split('.').map((part) => Number.parseInt(part, 10) || 0)
  const [theirs, ours] = [parts(version), parts(NAMES_OF_SDK)]
  const place = ours.findIndex((part, index) => part !== theirs[index])
  return place !== -1 && (theirs[place] ?? 0) > (ours[place] ?? 0)
}
