import { SymbolFlags } from 'typescript/unstable/sync'
import type { Symbol as Named, Type } from 'typescript/unstable/sync'
import type { Node } from 'typescript/unstable/ast'
import {
  isClassDeclaration,
  isIdentifier,
  isNewExpression,
  isPropertyAccessExpression,
  isTypeReferenceNode,
} from 'typescript/unstable/ast/is'
import { classOf, ownNodes } from './program.ts'
import type { Sources } from './program.ts'

const TYPES = SymbolFlags.Class | SymbolFlags.Interface | SymbolFlags.TypeAlias

/** The names of the types of `src` that these functions belong to, write, or use a member of. */
export function typesNamed(sources: Sources, path: readonly Node[]): string[] {
  const found = path.flatMap((node) => {
    const nodes = [...ownNodes(node)]
    const used = nodes.filter(isPropertyAccessExpression).map(({ expression }) => expression)
    return [
      ownerOf(sources, node),
      ...nodes.filter(isTypeReferenceNode).map(({ typeName }) => sources.symbolAt(typeName)),
      ...nodes.filter(isNewExpression).map(({ expression }) => sources.symbolAt(expression)),
      ...sources.checker.getTypeAtLocation(used).flatMap((type) => namesIn(sources, type)),
    ]
  })
  const named = found.filter((symbol) => symbol !== undefined && isCounted(sources, symbol))
  return [...new Set(named.map((symbol) => symbol?.name ?? ''))].toSorted()
}

function ownerOf(sources: Sources, node: Node): Named | undefined {
  const holder = classOf(node)
  return holder !== undefined && isClassDeclaration(holder) && holder.name !== undefined && isIdentifier(holder.name)
    ? sources.symbolAt(holder.name)
    : undefined
}

/** Errors say how a path is left. */
function isCounted(sources: Sources, symbol: Named): boolean {
  if ((symbol.flags & TYPES) === 0 || sources.declarations(symbol).length === 0) return false
  const isError = (type: Type): boolean =>
    type.getSymbol()?.name === 'Error' ||
    (type.isClassOrInterface() && sources.checker.getBaseTypes(type).some(isError))
  return !isError(sources.checker.getDeclaredTypeOfSymbol(symbol))
}

/** What a type is called, or what its parts and arguments are called. */
function namesIn(sources: Sources, type: Type | undefined): Named[] {
  if (type === undefined) return []
  const alias = type.getAliasSymbol()
  if (alias !== undefined && sources.declarations(alias).length > 0) return [alias]
  if (type.isUnionType() || type.isIntersectionType())
    return (type.getTypes() ?? []).flatMap((part) => namesIn(sources, part))
  const symbol = type.isObjectType() ? type.getSymbol() : undefined
  const parts = type.isTypeReference() ? sources.checker.getTypeArguments(type) : []
  return [...(symbol === undefined ? [] : [symbol]), ...parts.flatMap((part) => namesIn(sources, part))]
}
