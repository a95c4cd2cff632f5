import type { Readable } from 'node:stream'

/** A refusal is the first thing that a process says, and short. */
const KEPT_BYTES = 256 * 1024

/** Why the CLI did not start, in its own words. */
export interface Refusal {
  /** The CLI's code for it, such as `sideload_flags_disabled`; it has none for a conversation that it cannot resume. */
  reason: string | undefined
  message: string
}

/** Keeps what a process says before it is ready: the SDK gives no access to that when the start fails. */
export class StartupOutput {
  readonly #source: Readable
  #kept: Buffer[] = []
  #keptBytes = 0

  constructor(source: Readable) {
    this.#source = source
    source.on('data', this.#keep)
  }

  /** The process is ready: nothing is kept any more. */
  forget(): void {
    this.#source.off('data', this.#keep)
    this.#kept = []
  }

  get refusal(): Refusal | undefined {
    for (const line of Buffer.concat(this.#kept).toString().split('\n')) {
      const refusal = refusalOf(line)
      if (refusal !== undefined) return refusal
    }
    return undefined
  }

  readonly #keep = (chunk: Buffer): void => {
    if (this.#keptBytes + chunk.length > KEPT_BYTES) return
    // A copy: the gate gives the memory of each chunk back.
    this.#kept.push(Buffer.from(chunk))
    this.#keptBytes += chunk.length
  }
}

function refusalOf(line: string): Refusal | undefined {
  if (!line.includes('"result"')) return undefined
  try {
    const { type, startup_failure_reason: reason, errors } = JSON.parse(line) as Record<string, unknown>
    if (type !== 'result' || !Array.isArray(errors)) return undefined
    return { reason: typeof reason === 'string' ? reason : undefined, message: errors.join('; ') }
  } catch {
    return undefined
  }
}
