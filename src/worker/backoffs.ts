import { Backoff } from './backoff.ts'
import { keepNewest } from '../newest.ts'

/** Kinds, and conversations, that are remembered at most. */
const MAX_REMEMBERED = 1_000

/** What holds a start back, and for how much longer. `of`: failures of the whole kind, or of one conversation. */
export interface Hold {
  of: 'kind' | 'conversation'
  error: Error
  remainingMs: number
}

/** Holds back starts that keep failing: of a kind of process, or of one conversation. */
export class Backoffs {
  readonly #kinds = new Map<string, Backoff>()
  readonly #conversations = new Map<string, Backoff>()

  /** True when the last start of this kind failed. */
  failing(kind: string): boolean {
    return this.#kinds.get(kind)?.failing ?? false
  }

  held(kind: string, conversation: string | undefined, now: number): Hold | undefined {
    const ofKind = this.#kinds.get(kind)?.held(now)
    if (ofKind !== undefined) return { of: 'kind', ...ofKind }
    const own = conversation === undefined ? undefined : this.#conversations.get(conversation)?.held(now)
    return own && { of: 'conversation', ...own }
  }

  failed(kind: string, conversation: string | undefined, error: Error, now: number): void {
    fetch(this.#kinds, kind).failed(error, now, conversation)
    if (conversation !== undefined) fetch(this.#conversations, conversation).failed(error, now)
  }

  succeeded(kind: string, conversation: string | undefined): void {
    this.#kinds.delete(kind)
    if (conversation !== undefined) this.#conversations.delete(conversation)
  }
}

function fetch(backoffs: Map<string, Backoff>, key: string): Backoff {
  const backoff = backoffs.get(key) ?? new Backoff()
  // The least recent failure is forgotten first.
  backoffs.delete(key)
  backoffs.set(key, backoff)
  keepNewest(backoffs, MAX_REMEMBERED)
  return backoff
}
