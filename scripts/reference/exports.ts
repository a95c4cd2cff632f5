import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { parseSync } from 'oxc-parser'
import type { Comment, Program, Span } from 'oxc-parser'

/** What an exported name is. */
export type Kind = 'function' | 'class' | 'interface' | 'type' | 'constant'

/** One exported name, as its declaration file has it. */
export interface Declaration {
  name: string
  kind: Kind
  /** Its docstring as plain text; empty if there is none. */
  doc: string
  /** Its signature, with the docstrings of its members and without private ones. */
  code: string
  /** The class that a class extends. */
  extends?: string
  /** The constructor of a class, as `code` contains it. */
  construct?: string
  /** The declaration file that has it. */
  file: string
}

type Statement = Program['body'][number]
type Inner = NonNullable<Extract<Statement, { type: 'ExportNamedDeclaration' }>['declaration']>

interface File {
  text: string
  statements: readonly Statement[]
  comments: readonly Comment[]
  /** Exported names that come from another file: their name there, and the file. */
  forwarded: ReadonlyMap<string, Place>
  /** Names that it imports from other files of the package. */
  imported: ReadonlyMap<string, Place>
}

/** Where a name comes from. */
interface Place {
  name: string
  from: string
}

const KINDS: Readonly<Record<string, Kind>> = {
  TSDeclareFunction: 'function',
  ClassDeclaration: 'class',
  TSInterfaceDeclaration: 'interface',
  TSTypeAliasDeclaration: 'type',
  VariableDeclaration: 'constant',
}

/** Reads declaration files (`.d.ts`) below a folder, and finds what an entry point exports. */
export class Declarations {
  readonly #root: string
  readonly #files = new Map<string, File>()

  constructor(root: string) {
    this.#root = root
  }

  /** All names that a file exports, in the order of the file. `file` is a path below the folder, such as `index.d.ts`. */
  of(file: string): Declaration[] {
    const { forwarded } = this.#read(file)
    const own = this.#own(file).map(({ name }) => name)
    return [...new Set([...forwarded.keys(), ...own])].map((name) => {
      const found = this.#find(file, name)
      if (found === undefined) throw new Error(`${file} exports no declaration of ${name}`)
      return found
    })
  }

  /** Without constructors that take types which `isKnown` does not know: they are for the package itself. */
  forUsers(declaration: Declaration, isKnown: (name: string) => boolean): Declaration {
    const { construct, code, file } = declaration
    const isInternal = namesIn(construct ?? '').some(
      (name) => !isKnown(name) && this.#inScope(file, name) !== undefined,
    )
    return construct === undefined || !isInternal ? declaration : { ...declaration, code: code.replace(construct, '') }
  }

  /** The types of the package that a declaration names and `isKnown` does not know, and those that these name in turn. */
  behind(declarations: readonly Declaration[], isKnown: (name: string) => boolean): Declaration[] {
    const found = new Map<string, Declaration>()
    const look = ({ file, code }: Declaration): void => {
      for (const name of namesIn(code)) {
        const there = isKnown(name) || found.has(name) ? undefined : this.#inScope(file, name)
        if (there?.kind !== 'interface' && there?.kind !== 'type') continue
        found.set(name, there)
        look(there)
      }
    }
    for (const declaration of declarations) look(declaration)
    return [...found.values()]
  }

  #inScope(file: string, name: string): Declaration | undefined {
    const { imported } = this.#read(file)
    const elsewhere = imported.get(name)
    return elsewhere === undefined
      ? this.#own(file, { all: true }).find((declaration) => declaration.name === name)
      : this.#find(elsewhere.from, elsewhere.name)
  }

  /** Undefined for what another package declares. */
  #find(file: string, name: string): Declaration | undefined {
    const elsewhere = this.#read(file).forwarded.get(name)
    if (elsewhere !== undefined) return this.#find(elsewhere.from, elsewhere.name)
    const [found, ...overloads] = this.#own(file).filter((declaration) => declaration.name === name)
    if (found === undefined) return undefined
    return { ...found, code: [found, ...overloads].map(({ code }) => code).join('\n') }
  }

  /** What a file declares itself: what it exports, or all of it. */
  #own(file: string, { all = false } = {}): Declaration[] {
    return this.#read(file).statements.flatMap((statement) => {
      if (statement.type === 'ExportNamedDeclaration' && statement.declaration !== null)
        return this.#declared(file, statement, statement.declaration)
      return all && statement.type in KINDS ? this.#declared(file, statement, statement as Inner) : []
    })
  }

  #declared(file: string, statement: Span, declaration: Inner): Declaration {
    const kind = KINDS[declaration.type]
    const id = declaration.type === 'VariableDeclaration' ? declaration.declarations[0]?.id : declaration.id
    if (kind === undefined || id?.type !== 'Identifier')
      throw new Error(`${file}: an export of another kind than known: ${declaration.type}`)
    const { text, comments } = this.#read(file)
    const isClass = declaration.type === 'ClassDeclaration'
    const parent = isClass ? declaration.superClass : null
    const made = isClass ? declaration.body.body.find((it) => 'kind' in it && it.kind === 'constructor') : undefined
    return {
      name: id.name,
      kind,
      doc: docOf(before(statement, comments, text)),
      code: withoutPrivate(statement, declaration, { text, comments }),
      ...(parent?.type === 'Identifier' ? { extends: parent.name } : {}),
      ...(made === undefined ? {} : { construct: linesOf(made, { text, comments }) }),
      file,
    }
  }

  #read(file: string): File {
    const known = this.#files.get(file)
    if (known !== undefined) return known
    const text = readFileSync(join(this.#root, file), 'utf8')
    const { program, comments, module, errors } = parseSync(file, text)
    if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`)
    const placeIn = (specifier: string, name: string): Place => {
      const from = posix.join(posix.dirname(file), specifier).replace(/\.ts$/, '.d.ts')
      return { name, from }
    }
    const forwarded = new Map<string, Place>()
    for (const { exportName, importName, moduleRequest } of module.staticExports.flatMap(({ entries }) => entries)) {
      if (moduleRequest?.value.startsWith('.') !== true || exportName.name === null) continue
      forwarded.set(exportName.name, placeIn(moduleRequest.value, importName.name ?? exportName.name))
    }
    const imported = new Map<string, Place>()
    for (const { entries, moduleRequest } of module.staticImports) {
      if (!moduleRequest.value.startsWith('.')) continue
      for (const { importName, localName } of entries)
        imported.set(localName.value, placeIn(moduleRequest.value, importName.name ?? localName.value))
    }
    const read = { text, statements: program.body, comments, forwarded, imported }
    this.#files.set(file, read)
    return read
  }
}

/** The names of types in a declaration, without those in its comments and strings. */
export const namesIn = (code: string): string[] => {
  const plain = code.replaceAll(/\/\*\*.*?\*\//gs, '').replaceAll(/'[^']*'/g, '')
  return [...new Set(plain.match(/\b[A-Z]\w+\b/g) ?? [])].toSorted()
}

/** The docstring that ends right before a place. */
function before({ start }: Span, comments: readonly Comment[], text: string): Comment | undefined {
  return comments.findLast(
    (comment) => comment.end <= start && comment.value.startsWith('*') && text.slice(comment.end, start).trim() === '',
  )
}

/** The text of a docstring without its stars. A `{@link Name}` is the name as code. */
function docOf(comment: Comment | undefined): string {
  const lines = (comment?.value.slice(1) ?? '').split('\n').map((line) => line.replace(/^\s*\*? ?/, '').trimEnd())
  return lines
    .join('\n')
    .replaceAll(/\{@link (\w+)\}/g, '`$1`')
    .trim()
}

/** The whole lines of a member, its docstring included. */
function lineSpan(member: Span, { text, comments }: Pick<File, 'text' | 'comments'>): { start: number; end: number } {
  const start = before(member, comments, text)?.start ?? member.start
  return { start: text.lastIndexOf('\n', start) + 1, end: text.indexOf('\n', member.end) + 1 }
}

function linesOf(member: Span, file: Pick<File, 'text' | 'comments'>): string {
  const { start, end } = lineSpan(member, file)
  return file.text.slice(start, end)
}

/** The source of a declaration without `export declare` and private members. */
function withoutPrivate(
  statement: Span,
  declaration: Inner,
  { text, comments }: Pick<File, 'text' | 'comments'>,
): string {
  const members = declaration.type === 'ClassDeclaration' ? declaration.body.body : []
  const cuts = members
    .filter((member) => {
      if (!('key' in member)) return false
      return (
        member.key.type === 'PrivateIdentifier' || ('accessibility' in member && member.accessibility === 'private')
      )
    })
    .map((member) => lineSpan(member, { text, comments }))
  let code = ''
  let at = statement.start
  for (const { start, end } of cuts) {
    code += text.slice(at, start)
    at = end
  }
  return (code + text.slice(at, statement.end)).replace(/^(?:export )?(?:declare )?/, '').trim()
}
