/**
 * Versions of the CLI that are known to send all calls of the model into `ANTHROPIC_UNIX_SOCKET`, of which no document says so:
 * test/process/credentials.test.ts proves it of the installed one. With any other version the API is given as a port on loopback.
 */
const FIRST = [2, 1, 329] as const
const LAST = [2, 1, 332] as const

const compare = (a: readonly number[], b: readonly number[]): number =>
  a.map((part, place) => part - (b[place] ?? 0)).find((difference) => difference !== 0) ?? 0

/** True for a version that was tested. */
export function takesSocket(version: string | undefined): boolean {
  const parts = /^(\d+)\.(\d+)\.(\d+)$/
    .exec(version ?? '')
    ?.slice(1)
    .map(Number)
  return parts !== undefined && compare(parts, FIRST) >= 0 && compare(parts, LAST) <= 0
}
