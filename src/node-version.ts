import { PoolError } from './errors.ts'

/** The oldest Node that has all that the package uses. */
export const NODE_AT_LEAST = '22.18.0'

/** Below 0: `a` is older than `b`. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(/[.-]/).map((part) => Number.parseInt(part, 10) || 0))
  const difference = [0, 1, 2].map((place) => (left?.[place] ?? 0) - (right?.[place] ?? 0)).find((step) => step !== 0)
  return difference ?? 0
}

/** Throws PoolError in a Node that is too old. Bun and Deno name the Node that they stand in for, and are tried as they are. */
export function checkNode(versions: Readonly<Record<string, string | undefined>> = process.versions): void {
  const { node = '0', bun, deno } = versions
  if (bun !== undefined || deno !== undefined || compareVersions(node, NODE_AT_LEAST) >= 0) return
  const error = new PoolError(
    'unsupported_node',
    `Node ${NODE_AT_LEAST} or later is needed for claude-agent-pool, and this is ${node}; install it from https://nodejs.org`,
  )
  // Where it was thrown says nothing to anybody.
  error.stack = `${error.name}: ${error.message}`
  throw error
}
