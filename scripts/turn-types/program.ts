import { isAbsolute, join, relative } from 'node:path'
import { API, SymbolFlags } from 'typescript/unstable/sync'
import type { Checker, Project, Snapshot, Symbol as Named, Type } from 'typescript/unstable/sync'
import { isFunctionLikeDeclaration } from 'typescript/unstable/ast'
import type { Node, SourceFile } from 'typescript/unstable/ast'
import { isClassDeclaration } from 'typescript/unstable/ast/is'

/** The sources of a tree, as the compiler sees them. */
export class Sources implements Disposable {
  readonly src: string
  readonly project: Project
  readonly #api: API

  /** `root` holds `src` and `tsconfig.build.json`. */
  constructor(root: string) {
    const config = join(root, 'tsconfig.build.json')
    this.src = join(root, 'src')
    this.#api = new API({ cwd: root })
    const snapshot: Snapshot = this.#api.updateSnapshot({ openProjects: [config] })
    const project = snapshot.getProject(config)
    if (project === undefined) throw new Error(`${config} is no project that the compiler can read`)
    this.project = project
  }

  get checker(): Checker {
    return this.project.checker
  }

  /** A file by its path below `src`. */
  file(path: string): SourceFile {
    const file = this.project.program.getSourceFile(join(this.src, path))
    if (file === undefined) throw new Error(`${join(this.src, path)} is no source of the project`)
    return file
  }

  /** Paths below `src`. */
  get files(): string[] {
    return this.project.program
      .getSourceFileNames()
      .map((name) => relative(this.src, name))
      .filter((path) => !path.startsWith('..') && !isAbsolute(path))
      .toSorted()
  }

  /** Where in `src` a symbol is declared; undefined for those of libraries. */
  declarations(symbol: Named | undefined): Node[] {
    return (symbol?.declarations ?? [])
      .filter(({ path }) => path.startsWith(`${this.src}/`))
      .flatMap((handle) => handle.resolve(this.project) ?? [])
  }

  /** The symbol that a name stands for, through imports. */
  symbolAt(node: Node): Named | undefined {
    const symbol = this.checker.getSymbolAtLocation(node)
    return symbol !== undefined && (symbol.flags & SymbolFlags.Alias) !== 0
      ? this.checker.getAliasedSymbol(symbol)
      : symbol
  }

  /** The exported class or interface of this name. There must be one. */
  exported(name: string): Type {
    for (const path of this.files) {
      const module = this.checker.getSymbolAtLocation(this.file(path))
      const symbol =
        module === undefined ? undefined : [...module.getExports().values()].find((one) => one.name === name)
      if (symbol !== undefined && (symbol.flags & (SymbolFlags.Class | SymbolFlags.Interface)) !== 0)
        return this.checker.getDeclaredTypeOfSymbol(symbol)
    }
    throw new Error(`no file of ${this.src} exports a class or interface ${name}`)
  }

  [Symbol.dispose](): void {
    this.#api.close()
  }
}

/** All nodes below one, but not those inside of functions that it contains. */
export function* ownNodes(node: Node): Generator<Node> {
  const children: Node[] = []
  node.forEachChild((child) => {
    children.push(child)
  })
  for (const child of children) {
    yield child
    if (!isFunctionLikeDeclaration(child)) yield* ownNodes(child)
  }
}

/** The class whose body holds this node. */
export function classOf(node: Node): Node | undefined {
  for (let at: Node | undefined = node.parent; at !== undefined; at = at.parent) {
    if (isClassDeclaration(at)) return at
  }
  return undefined
}
