/** Fails the test when pool and model disagree. Cheap enough for a million calls, which `expect` is not. */
export function agree(what: string, actual: unknown, expected: unknown): void {
  if (!Object.is(actual, expected)) throw new Error(`${what}: ${String(actual)}, and ${String(expected)} were expected`)
}
