/** The ways in which a turn can find its process, slowest first. */
export const PATHS = ['cold', 'resumed', 'spare', 'primed', 'live'] as const
export type Path = (typeof PATHS)[number]

/** What the demo tells, and what it found. */
export interface DemoFindings {
  /** Milliseconds from `send()` to the first message, for each path. */
  readonly samples: Record<Path, number[]>
  crash?: { error: string; promptsSent: number; turnsInAnswer: number; workerBefore: number; workerAfter: number }
  refusal?: { reason: string; retryAfterMs: number; message: string }
  /** What was not as promised. */
  readonly broken: string[]
}

/** What was found, with what was left of the processes. */
export interface DemoReport extends DemoFindings {
  readonly seconds: number
  readonly processes: { before: number; left: number }
}
