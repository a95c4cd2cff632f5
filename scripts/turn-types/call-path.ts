import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Symbol as Named } from 'typescript/unstable/sync'
import { isFunctionLikeDeclaration } from 'typescript/unstable/ast'
import type { CallExpression, Expression, Node } from 'typescript/unstable/ast'
import { isCallExpression, isIdentifier, isNewExpression, isPropertyAccessExpression } from 'typescript/unstable/ast/is'
import { Members, nameOf } from './members.ts'
import { ownNodes } from './program.ts'
import type { Sources } from './program.ts'
import type { Ran } from './record.ts'

/** A function that ran, and the functions that ran and that it may call. */
interface Step {
  node: Node
  calls: Set<Node>
}

/** The path of a turn: which functions are called on the way of the prompt to the process, and of the result to the caller. */
export function callPath(sources: Sources, ran: readonly Ran[]): Node[] {
  const steps = new Map(functionsThatRan(sources, ran).map((node) => [node, { node, calls: new Set<Node>() }]))
  const members = new Members(sources, steps)
  for (const step of steps.values()) connect(sources, step, steps, members)
  const { prompt, messages, entry, isSettling } = landmarks(sources)
  const handsOver = (node: Node): boolean => calledIn(node).some((call) => isMember(sources, call.expression, prompt))
  const reads = (node: Node): boolean =>
    [...ownNodes(node)].some((at) => isPropertyAccessExpression(at) && isMember(sources, at, messages))
  const settles = (node: Node): boolean => calledIn(node).some(isSettling)
  const all = [...steps.keys()]
  const down = between(
    steps,
    all.filter((node) => node === entry),
    handsOver,
  )
  if (down.size === 0) throw new Error('no call leads from Session.send to AgentProcess.send')
  const up = between(steps, all.filter(reads), settles)
  if (up.size === 0) throw new Error('no call leads from AgentProcess.messages to where Turn.result is resolved')
  return all.filter((node) => down.has(node) || up.has(node))
}

/** Where a path begins and ends, by the names of the public interface. */
function landmarks(sources: Sources): {
  entry: Node | undefined
  prompt: Named | undefined
  messages: Named | undefined
  isSettling: (call: CallExpression) => boolean
} {
  const { checker } = sources
  const process = sources.exported('AgentProcess')
  const send = checker.getPropertyOfType(sources.exported('Session'), 'send')
  const result = checker.getPropertyOfType(sources.exported('Turn'), 'result')
  const promise = result && checker.getTypeOfSymbol(result)
  const message = promise?.isTypeReference() ? checker.getTypeArguments(promise)[0] : undefined
  if (send === undefined || message === undefined) throw new Error('Session.send or Turn.result is not there')
  return {
    entry: sources.declarations(send)[0],
    prompt: checker.getPropertyOfType(process, 'send'),
    messages: checker.getPropertyOfType(process, 'messages'),
    // It takes the message or a promise of it, and is the standard library's.
    isSettling: (call) => {
      const signature = checker.getResolvedSignature(call)
      const value = signature?.getParameters()[0]
      const type = value && checker.getTypeOfSymbol(value)
      return (
        signature?.declaration?.path.startsWith(`${sources.src}/`) === false &&
        type?.isUnionType() === true &&
        (type.getTypes() ?? []).some(
          (one) => one.isTypeReference() && checker.getTypeArguments(one).some(({ id }) => id === message.id),
        )
      )
    },
  }
}

function functionsThatRan(sources: Sources, ran: readonly Ran[]): Node[] {
  const found: Node[] = []
  for (const [url, functions] of Map.groupBy(ran, (one) => one.url)) {
    const nodes = [...everyNode(sources.file(relative(sources.src, fileURLToPath(url))))].filter(
      isFunctionLikeDeclaration,
    )
    for (const { start, end } of functions) {
      // V8 counts from the name or the parameters on, the compiler from the modifiers on.
      const [nearest] = nodes
        .filter((node) => node.end === end)
        .toSorted((a, b) => Math.abs(a.getStart() - start) - Math.abs(b.getStart() - start))
      if (nearest !== undefined) found.push(nearest)
    }
  }
  return found
}

function* everyNode(node: Node): Generator<Node> {
  yield node
  const children: Node[] = []
  node.forEachChild((child) => {
    children.push(child)
  })
  for (const child of children) yield* everyNode(child)
}

const calledIn = (node: Node): CallExpression[] => [...ownNodes(node)].filter(isCallExpression)

const isMember = (sources: Sources, at: Expression, member: Named | undefined): boolean =>
  member !== undefined && isPropertyAccessExpression(at) && sources.symbolAt(at.name)?.id === member.id

/** A function leads to those that it calls, and to those that it contains: they are called later. */
function connect(sources: Sources, { node, calls }: Step, steps: ReadonlyMap<Node, Step>, members: Members): void {
  for (const at of ownNodes(node)) {
    if (steps.has(at)) calls.add(at)
    if (!isCallExpression(at) && !isNewExpression(at)) continue
    const symbol = sources.symbolAt(nameOf(at.expression))
    for (const target of members.of(symbol)) calls.add(target)
    for (const argument of at.arguments ?? []) {
      if (isIdentifier(argument)) for (const target of members.of(sources.symbolAt(argument))) calls.add(target)
    }
  }
}

/** All steps on a way from one of the first to one that is the last. */
function between(
  steps: ReadonlyMap<Node, Step>,
  first: readonly Node[],
  isLast: (node: Node) => boolean,
): ReadonlySet<Node> {
  const callers = new Map<Node, Set<Node>>()
  for (const { node, calls } of steps.values()) {
    for (const called of calls) callers.set(called, (callers.get(called) ?? new Set()).add(node))
  }
  const ahead = reach(first, (node) => steps.get(node)?.calls)
  const back = reach([...ahead].filter(isLast), (node) => callers.get(node))
  return new Set([...ahead].filter((node) => back.has(node)))
}

function reach(from: readonly Node[], next: (node: Node) => Iterable<Node> | undefined): Set<Node> {
  const seen = new Set(from)
  for (const node of seen) for (const other of next(node) ?? []) seen.add(other)
  return seen
}
