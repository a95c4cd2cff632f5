import { calendarOf } from '../calendar.ts'
import type { Clock } from '../clock.ts'
import { SessionConflictError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import type { SessionRecord } from '../store/store.ts'
import { usageFrom } from '../usage/usage.ts'
import type { ActiveSession } from './active-session.ts'
import type { ActiveSessions } from './active-sessions.ts'
import type { SessionFiles } from './session-files.ts'
import { newRecord } from './session-record.ts'

export interface ForksContext {
  clock: Clock
  emitter: PoolEmitter
  active: ActiveSessions
  files: SessionFiles
}

/** Makes sessions that begin with the conversation of another one. */
export class Forks {
  readonly #context: ForksContext

  constructor(context: ForksContext) {
    this.#context = context
  }

  /** The record of the fork. Throws SessionBusyError, SessionConflictError, ResumeError. */
  async make(session: ActiveSession, key: string): Promise<SessionRecord> {
    const { record } = session
    const { active } = this.#context
    await session.rest('fork it when that has ended')
    const taken = new SessionConflictError(`the fork's key "${key}" is taken; choose another or delete that session`)
    const other = await active.load({ tenant: record.tenant, key })
    if (other !== undefined) {
      active.forgetIfQuiet(other)
      throw taken
    }
    const fork = await this.#copy(record, key)
    try {
      const forked = await active.load({ tenant: record.tenant, key }, () => active.begin(fork))
      // Another fork may have been faster: what was copied for this one goes again.
      if (forked?.record.uid !== fork.uid) throw taken
      active.forgetIfQuiet(forked)
    } catch (error) {
      await this.#remove(fork)
      throw error
    }
    return fork
  }

  async #copy(record: Readonly<SessionRecord>, key: string): Promise<SessionRecord> {
    const { clock, files } = this.#context
    const { tenant, agent, cwd, ownsCwd, begun } = record
    const fork = newRecord({ tenant, key, agent, cwd: ownsCwd ? undefined : cwd }, calendarOf(clock).latest)
    if (!begun) return fork
    // The copied transcript tells of what was used as if it were the fork's.
    return { ...fork, ...(await files.copy(record, fork.uid)), usage: usageFrom(clock.wall()) }
  }

  async #remove(fork: SessionRecord): Promise<void> {
    const { files, emitter } = this.#context
    await files
      .remove(fork, undefined)
      .catch((error: unknown) =>
        emitter.tell('warning', { message: `files of the fork "${fork.key}", which was not made, stay`, error }),
      )
  }
}
