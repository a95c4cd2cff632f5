import type { Store } from '../store/store.ts'

/** How long something was at work, with pauses, by the readings of one clock in milliseconds. */
export class Activity {
  #sum = 0
  #since: number | undefined

  resume(now: number): void {
    this.#since ??= now
  }

  pause(now: number): void {
    this.#sum = this.until(now)
    this.#since = undefined
  }

  /** The sum as of now. */
  until(now: number): number {
    return this.#sum + (this.#since === undefined ? 0 : now - this.#since)
  }

  /** The sum, which is nothing from then on. */
  end(now: number): number {
    const sum = this.until(now)
    this.#sum = 0
    this.#since = undefined
    return sum
  }
}

/** More than a turn has pauses. */
const STATUSES_READ = 200

/**
 * How long the turn ran that the host of these events has left unfinished, up to its last event, in milliseconds. What it
 * did after that is not recorded.
 */
export async function activityOfOpenTurn(store: Pick<Store, 'readEvents'>, uid: string): Promise<number> {
  const [newest] = await store.readEvents(uid, { descending: true, limit: 1 })
  const types = ['session.status_running', 'session.status_idle']
  const statuses = await store.readEvents(uid, { types, descending: true, limit: STATUSES_READ })
  let sum = 0
  let end = newest?.at ?? 0
  for (const { type, at, json } of statuses) {
    if (type === 'session.status_running') {
      sum += Math.max(0, end - at)
      // One behind another: the model was asked again in between.
      end = at
    } else if (waitsForAnswer(json)) end = at
    else break
  }
  return sum
}

const waitsForAnswer = (json: string): boolean =>
  (JSON.parse(json) as { stop_reason?: { type?: string } }).stop_reason?.type === 'requires_action'
