import type { EventOptions, SessionEvents } from '../journal/event-reader.ts'
import type { TurnInput } from '../turns/prompt.ts'
import type { EventRange, SessionInfo } from '../store/store.ts'
import type { NumberedEvent } from '../journal/journal.ts'
import type { NewSessionEvent } from '../journal/session-event.ts'
import type { SendOptions } from '../turns/send.ts'
import type { Turn } from '../turns/turn.ts'

/** What a session asks of its pool. */
export interface SessionHost {
  send(session: SessionIdentity, input: TurnInput, options: SendOptions): Turn
  warm(session: SessionIdentity): Promise<void>
  hibernate(session: SessionIdentity): Promise<void>
  fork(session: SessionIdentity, key: string): Promise<Session>
  remove(session: SessionIdentity): Promise<void>
  info(session: SessionIdentity): Promise<SessionInfo>
  events(session: SessionIdentity, options: EventOptions): SessionEvents
  append(session: SessionIdentity, events: readonly NewSessionEvent[]): Promise<NumberedEvent[]>
  history(session: SessionIdentity, range: EventRange): Promise<NumberedEvent[]>
  interrupt(session: SessionIdentity): Promise<boolean>
  changeAgent(session: SessionIdentity, agent: string): Promise<void>
}

/** Which session is meant. The uid tells it from a later one under the same key. */
export interface SessionIdentity {
  readonly tenant: string
  readonly key: string
  readonly uid: string
  readonly agent: string
}

/** One conversation. A handle holds nothing: dropping it leaks nothing, and several may be used at once. */
export class Session {
  readonly tenant: string
  readonly key: string
  readonly agent: string
  readonly #identity: SessionIdentity
  readonly #host: SessionHost

  constructor(identity: SessionIdentity, host: SessionHost) {
    this.tenant = identity.tenant
    this.key = identity.key
    this.agent = identity.agent
    this.#identity = identity
    this.#host = host
  }

  /**
   * Starts a turn at once. What goes wrong is thrown from the iteration and rejects `turn.result`: CapacityError,
   * SessionBusyError, StartError, ResumeError, WorkerExitedError, TurnTimeoutError, TurnInterruptedError,
   * AuthenticationError, SessionGoneError, PoolClosedError, StoreError. A result that reports an error is a message.
   */
  send(input: TurnInput, options: SendOptions = {}): Turn {
    return this.#host.send(this.#identity, input, options)
  }

  /** Brings the session's process up ahead of its next message. Resolves when it is ready. Throws as a turn does. */
  warm(): Promise<void> {
    return this.#host.warm(this.#identity)
  }

  /** Ends the session's process and keeps the session. Throws SessionBusyError while a turn runs. */
  hibernate(): Promise<void> {
    return this.#host.hibernate(this.#identity)
  }

  /** A new session under `key` that begins with this conversation as it is now. Throws SessionBusyError, SessionConflictError, ResumeError. */
  fork(key: string): Promise<Session> {
    return this.#host.fork(this.#identity, key)
  }

  /**
   * Ends what runs and removes the session: its record, transcript and workspace. Deleting twice is no error. Throws FilesError when
   * files stay: the session runs no more turns then, and can be deleted again until they are gone.
   */
  delete(): Promise<void> {
    return this.#host.remove(this.#identity)
  }

  /**
   * All that was said in this session, in the shapes of Anthropic's Managed Agents API: what is kept, then what comes, each
   * event once and with its number. Come back with `after` to go on. Throws SessionGoneError, PoolClosedError, StoreError,
   * and ConfigError where events are not kept.
   */
  events(options: EventOptions = {}): SessionEvents {
    return this.#host.events(this.#identity, options)
  }

  /** A page of what was said, from either end: at most 4 MiB. An empty page is the end. Throws as `events()`. */
  history(range: EventRange): Promise<NumberedEvent[]> {
    return this.#host.history(this.#identity, range)
  }

  /** Stops the turn that runs, whoever sent it; false when none does. Resolves when its process has taken note. */
  interrupt(): Promise<boolean> {
    return this.#host.interrupt(this.#identity)
  }

  /**
   * Gives the conversation another agent from its next turn on: its process leaves, and the next one resumes under the new
   * definition. This handle still names the old one. Throws ConfigError (no such agent), SessionBusyError while a turn runs.
   */
  changeAgent(agent: string): Promise<void> {
    return this.#host.changeAgent(this.#identity, agent)
  }

  /** Adds events of the caller's own, which the agent does not see; resolves when they are durable. Throws as `events()`. */
  append(events: readonly NewSessionEvent[]): Promise<NumberedEvent[]> {
    return this.#host.append(this.#identity, events)
  }

  /** Throws SessionGoneError when it was deleted. */
  info(): Promise<SessionInfo> {
    return this.#host.info(this.#identity)
  }
}
