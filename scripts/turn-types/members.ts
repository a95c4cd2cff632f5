import type { Symbol as Named } from 'typescript/unstable/sync'
import { isFunctionLikeDeclaration, SyntaxKind } from 'typescript/unstable/ast'
import type { Expression, Node } from 'typescript/unstable/ast'
import {
  isBinaryExpression,
  isClassDeclaration,
  isObjectLiteralExpression,
  isPropertyAccessExpression,
  isPropertyAssignment,
  isPropertyDeclaration,
  isVariableDeclaration,
} from 'typescript/unstable/ast/is'
import { classOf } from './program.ts'
import type { Sources } from './program.ts'

/** The name at the end of what is called or assigned. */
export const nameOf = (callee: Expression): Node => (isPropertyAccessExpression(callee) ? callee.name : callee)

/** Which functions may run when a member or a name is called. */
export class Members {
  readonly #sources: Sources
  readonly #steps: ReadonlyMap<Node, unknown>
  /** Functions in object literals and those assigned to a property, by the declaration of that property. */
  readonly #given = new Map<Node, Set<Node>>()
  /** The same by the name of the property: a function may be handed on from one property to another. */
  readonly #givenAs = new Map<string, Set<Node>>()
  /** Methods by their names. */
  readonly #methods = new Map<string, Node[]>()
  readonly #known = new Map<number, Node[]>()

  constructor(sources: Sources, steps: ReadonlyMap<Node, unknown>) {
    this.#sources = sources
    this.#steps = steps
    for (const node of steps.keys()) {
      const name = methodName(node)
      if (name !== undefined) this.#methods.set(name, [...(this.#methods.get(name) ?? []), node])
      for (const declaration of this.#placesOf(node)) {
        this.#given.set(declaration, (this.#given.get(declaration) ?? new Set()).add(node))
        const as = text((declaration as unknown as { name: Node }).name)
        this.#givenAs.set(as, (this.#givenAs.get(as) ?? new Set()).add(node))
      }
    }
  }

  of(symbol: Named | undefined): Node[] {
    if (symbol === undefined) return []
    const known = this.#known.get(symbol.id)
    if (known !== undefined) return known
    const found = this.#sources.declarations(symbol).flatMap((declaration) => this.#standFor(declaration, symbol.name))
    this.#known.set(symbol.id, found)
    return found
  }

  #standFor(declaration: Node, name: string): Node[] {
    const body = bodyOf(declaration)
    const own = body !== undefined && this.#steps.has(body) ? [body] : []
    if (body === declaration) return own
    const found = [...own, ...(this.#given.get(declaration) ?? []), ...this.#implementations(declaration, name)]
    return found.length === 0 ? [...(this.#givenAs.get(name) ?? [])] : found
  }

  /** The properties in whose place a function stands: `{ run: () => … }`, `turn.onEnd = () => …`. */
  #placesOf(node: Node): Node[] {
    const { checker } = this.#sources
    const { parent } = node
    if (isPropertyAssignment(parent) || isObjectLiteralExpression(parent)) {
      const literal = isPropertyAssignment(parent) ? parent.parent : parent
      const name = isPropertyAssignment(parent) ? parent.name : (node as { name?: Node }).name
      const type = checker.getContextualType(literal as Expression)
      if (type === undefined || name === undefined) return []
      return this.#sources.declarations(checker.getPropertyOfType(type, text(name)))
    }
    if (isBinaryExpression(parent) && parent.operatorToken.kind === SyntaxKind.EqualsToken) {
      return this.#sources.declarations(this.#sources.symbolAt(nameOf(parent.left)))
    }
    return []
  }

  /** The methods of classes that can stand for the interface of this member. */
  #implementations(declaration: Node, name: string): Node[] {
    const { checker } = this.#sources
    const owner = ownerOf(declaration)
    if (owner === undefined) return []
    const type = checker.getTypeAtLocation(owner)
    return (this.#methods.get(name) ?? []).filter((method) => {
      const holder = classOf(method)
      const own = holder && checker.getTypeAtLocation(holder)
      return type !== undefined && own !== undefined && checker.isTypeAssignableTo(own, type)
    })
  }
}

const OWNERS = [SyntaxKind.InterfaceDeclaration, SyntaxKind.TypeLiteral, SyntaxKind.ClassDeclaration]

const text = (name: Node): string => name.getText()

/** The type whose member this is. */
const ownerOf = ({ parent }: Node): Node | undefined => (OWNERS.includes(parent.kind) ? parent : undefined)

const methodName = (node: Node): string | undefined =>
  node.kind === SyntaxKind.MethodDeclaration && isClassDeclaration(node.parent)
    ? text((node as unknown as { name: Node }).name)
    : undefined

/** The function that a declaration is, or is initialised with. */
function bodyOf(declaration: Node): Node | undefined {
  // One without a body is abstract: others stand for it.
  if (isFunctionLikeDeclaration(declaration)) return declaration.body === undefined ? undefined : declaration
  const holds = isVariableDeclaration(declaration) || isPropertyDeclaration(declaration)
  const value = holds ? declaration.initializer : undefined
  return value !== undefined && isFunctionLikeDeclaration(value) ? value : undefined
}
