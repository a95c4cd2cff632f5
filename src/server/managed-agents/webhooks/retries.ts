/** The first wait after a failure, in milliseconds; each further one is twice as long, up to the longest. */
const FIRST_MS = 5_000
const LONGEST_MS = 3_600_000

/** A delivery that has not worked so long after its event is given up, in milliseconds. */
export const GIVE_UP_MS: number = 24 * 3_600_000

/** An endpoint that has only failed for so long is disabled, in milliseconds. */
export const DISABLE_MS: number = 3 * 24 * 3_600_000

/** How long to wait after so many failures: between half and all of the time, so that not all come back at once. */
export const waitAfter = (attempts: number, random: number): number =>
  Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempts - 1)) * (0.5 + random / 2)
