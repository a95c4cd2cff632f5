import type { Agents } from '../agents/catalogue.ts'
import { ConfigError, SessionBusyError } from '../errors.ts'
import type { EventOptions, SessionEvents } from '../journal/event-reader.ts'
import { EventReader } from '../journal/event-reader.ts'
import type { TurnInput } from '../turns/prompt.ts'
import type { EventRange, SessionInfo } from '../store/store.ts'
import type { Journal, NumberedEvent } from '../journal/journal.ts'
import type { NewSessionEvent } from '../journal/session-event.ts'
import { wholeNumber } from '../options/section.ts'
import { checkOptions } from '../options/unknown.ts'
import { placeOf } from '../session-paths.ts'
import type { FilePlace } from '../session-paths.ts'
import type { SendOptions } from '../turns/send.ts'
import type { Turn } from '../turns/turn.ts'
import type { ActiveSession } from './active-session.ts'
import type { ActiveSessions } from './active-sessions.ts'
import type { Checkout } from './checkout.ts'
import type { Forks } from './fork.ts'
import type { TurnRunner } from './run-turn.ts'
import { fromOwner } from './peers.ts'
import type { SessionPeers } from './peers.ts'
import type { SessionFiles, WorkspaceFile } from './session-files.ts'
import type { SessionIdentity } from './session-record.ts'
import { checkName } from './session-record.ts'
import type { StoredSessions } from './stored-sessions.ts'

/** What the handles of a pool's sessions work with. */
export interface SessionDesk {
  readonly agents: Agents
  readonly active: ActiveSessions
  readonly stored: StoredSessions
  readonly turns: TurnRunner
  readonly checkout: Checkout
  readonly files: SessionFiles
  readonly forks: Forks
  /** The other hosts; undefined: they are not asked. */
  readonly peers: SessionPeers | undefined
}

const RANGE: Record<keyof EventRange, true> = {
  after: true,
  before: true,
  types: true,
  descending: true,
  limit: true,
  maxBytes: true,
}

const EVENT_OPTIONS: Record<keyof EventOptions, true> = { after: true, follow: true, previews: true }

/** One conversation. A handle has no resources: drop it or use several at once. */
export class Session {
  readonly tenant: string
  readonly key: string
  readonly agent: string
  readonly #identity: SessionIdentity
  readonly #desk: SessionDesk
  readonly #turns: TurnRunner
  readonly #active: ActiveSessions

  constructor({ tenant, key, uid, agent }: SessionIdentity, desk: SessionDesk) {
    this.tenant = tenant
    this.key = key
    this.agent = agent
    this.#identity = { tenant, key, uid, agent }
    this.#desk = desk
    this.#turns = desk.turns
    this.#active = desk.active
  }

  /**
   * Starts a turn at once. Errors are thrown from the iteration and reject `turn.result`: CapacityError,
   * SessionBusyError, StartError, ResumeError, WorkerExitedError, TurnTimeoutError, TurnInterruptedError,
   * AuthenticationError, SessionGoneError, PoolClosedError, StoreError. A result that reports an error is a message.
   */
  send(input: TurnInput, options: SendOptions = {}): Turn {
    return this.#turns.send(this.#identity, input, options)
  }

  /** Starts the session's process ahead of its next message. Resolves when it is ready. Throws like a turn. */
  warm(): Promise<void> {
    return this.#active.with(this.#identity, async (session) => {
      try {
        await this.#desk.checkout.warm(session)
      } catch (error) {
        // What became of its process says less than why.
        throw session.gone ?? error
      }
    })
  }

  /** Ends the session's process and keeps the session. Throws SessionBusyError while a turn runs. */
  async hibernate(): Promise<void> {
    await this.#active.with(this.#identity, (session) => session.hibernate())
    if ((await this.#askOwner('release')) === 'busy')
      throw new SessionBusyError(`session "${this.key}" runs a turn at another host; wait for its end or interrupt it`)
  }

  /**
   * Creates a session under `key` with a copy of this conversation as it is now. Throws SessionBusyError,
   * SessionConflictError, ResumeError.
   */
  async fork(key: string): Promise<Session> {
    checkName('key', key)
    const record = await this.#active.with(this.#identity, async (session) => {
      await this.#desk.checkout.fetch(session)
      return this.#desk.forks.make(session, key)
    })
    return new Session(record, this.#desk)
  }

  /**
   * True if the session's processes run in a sandbox. They see its workspace at `/workspace`, too, and of its folders `uploads` at
   * `/mnt/session/uploads` and `outputs` at `/mnt/session/outputs`, if these are there when a process starts.
   */
  get isSandboxed(): boolean {
    return this.#desk.checkout.isSandboxed(this.agent)
  }

  /**
   * Where `putFile()` puts a file of this path: within the workspace, and where the agent finds it. An absolute path is one that
   * sandboxed processes see, or lies in the workspace. Throws ConfigError for another path.
   */
  async placeOf(path: string): Promise<FilePlace> {
    const { cwd } = path.startsWith('/') ? await this.info() : {}
    const place = placeOf(path, cwd)
    if (path.startsWith('/') && !this.isSandboxed && (cwd === undefined || !path.startsWith(`${cwd}/`)))
      throw new ConfigError(
        'path',
        'is absolute, and the agents of this session run without a sandbox that could show it; write a path relative to the workspace, or set isolation.mode to "bubblewrap"',
      )
    return place
  }

  /**
   * Puts a file into the workspace that the pool makes for the session, in the place of what is there. `path` is relative to the
   * workspace, or absolute as `placeOf()` says. Throws ConfigError for another path, and for a session in a directory of its caller or
   * agent; FilesError, and what `pieces` throws.
   */
  async putFile(path: string, pieces: AsyncIterable<Buffer>): Promise<void> {
    const { within } = await this.placeOf(path)
    await this.#inWorkspace((workspace) => this.#desk.files.put(workspace, within, pieces))
  }

  /** Makes folders in the same place, unless they are there. Throws as `putFile()` does. */
  async makeFolders(paths: readonly string[]): Promise<void> {
    const places = await Promise.all(paths.map((path) => this.placeOf(path)))
    await this.#inWorkspace(async (workspace) => {
      for (const { within } of places) await this.#desk.files.makeFolder(workspace, within)
    })
  }

  /** Removes a file from the same place. One that is not there is no error. Throws as `putFile()` does. */
  async removeFile(path: string): Promise<void> {
    const { within } = placeOf(path, (await this.info()).cwd)
    await this.#inWorkspace((workspace) => this.#desk.files.take(workspace, within))
  }

  /**
   * The files in a folder of the session's workspace and in the folders in it, with the newest first: at most `limit` of them. None if
   * there is no such folder. Links are left out. Throws ConfigError for a path that leads elsewhere; FilesError, SessionElsewhereError.
   */
  async files(folder: string, { limit }: { limit: number }): Promise<WorkspaceFile[]> {
    wholeNumber('limit', limit, 1)
    const workspace = await this.#workspace()
    return workspace === undefined ? [] : this.#desk.files.list(workspace, placeOf(folder).within, limit)
  }

  /** The content of a file of the workspace in pieces. Throws as `files()` does, and FilesError for what is no file. */
  async *readFile(path: string): AsyncGenerator<Buffer> {
    const { within } = placeOf(path)
    const workspace = await this.#workspace()
    if (workspace !== undefined) yield* this.#desk.files.read(workspace, within)
  }

  /** The workspace as it is on this host, if the pool has made it. Throws SessionElsewhereError. */
  #workspace(): Promise<string | undefined> {
    return this.#active.with(this.#identity, ({ record }) => this.#desk.files.workspaceOf(record))
  }

  #inWorkspace(work: (workspace: string) => Promise<void>): Promise<void> {
    return this.#active.with(this.#identity, async (session) => {
      const workspace = await this.#desk.checkout.workspace(session)
      if (workspace === undefined)
        throw new ConfigError('path', `session "${this.key}" works in a directory that the pool did not make`)
      await work(workspace)
    })
  }

  /**
   * Ends the session's process and removes the session: its record, transcript and workspace. Deleting twice is not an
   * error. Throws FilesError if files stay: the session then runs no more turns. Delete it again until the files are
   * gone.
   */
  async delete(): Promise<void> {
    const session = await this.#active.find(this.#identity).catch((error: unknown) => {
      if ((error as { code?: string }).code === 'session_deleted') return undefined
      throw error
    })
    if (session !== undefined) await this.#atHome(() => this.#desk.stored.erase(this.#active.current(session)))
  }

  /**
   * Returns everything said in this session, in the shapes of Anthropic's Managed Agents API: stored events, then new
   * ones, each once and with its number. Use `after` to continue. Throws SessionGoneError, PoolClosedError, StoreError,
   * and ConfigError if the pool does not store events.
   */
  events(options: EventOptions = {}): SessionEvents {
    checkOptions('events()', options, EVENT_OPTIONS)
    wholeNumber('after', options.after ?? 0, 0)
    return new EventReader({ open: () => this.#followed() }, options)
  }

  /** Returns a page of the events, from either end: at most 1 MiB. An empty page is the end. Throws as `events()`. */
  async history(range: EventRange): Promise<NumberedEvent[]> {
    checkOptions('history()', range, RANGE)
    wholeNumber('limit', range.limit, 1)
    return this.#active.with(this.#identity, async (session) => {
      const journal = journalOf(session)
      await journal.ready()
      return journal.page(range)
    })
  }

  /**
   * Stops the running turn of any sender; false if there is none. Resolves when its process has received the interrupt.
   */
  async interrupt(): Promise<boolean> {
    const { running } = await this.#active.find(this.#identity)
    if (running === undefined) return (await this.#askOwner('interrupt')) === 'done'
    await running.interrupt()
    return true
  }

  /**
   * Gives the conversation another agent from its next turn on. Its process is closed, and the next one resumes under
   * the new definition. This handle still names the old one. Throws ConfigError (no such agent), SessionBusyError while
   * a turn runs.
   */
  async changeAgent(agent: string): Promise<void> {
    this.#desk.agents.of(agent)
    await this.#atHome(() =>
      this.#active.with(this.#identity, async (session) => {
        if (session.record.agent === agent) return
        await session.hibernate()
        await session.live.changeAgent(agent)
      }),
    )
  }

  /** Adds events of the caller's own, which the agent does not see; resolves when they are durable. Throws as `events()`. */
  append(events: readonly NewSessionEvent[]): Promise<NumberedEvent[]> {
    return this.#atHome(() =>
      this.#active.with(this.#identity, async (session) => {
        const journal = journalOf(session)
        const added = await journal.append(events)
        for (const { event } of added) session.running?.record?.recordFromCaller(event)
        await journal.flush()
        return added
      }),
    )
  }

  /** Throws SessionGoneError when it was deleted. */
  async info(): Promise<SessionInfo> {
    const session = await this.#active.find(this.#identity)
    const { info } = session
    this.#active.forgetIfQuiet(session)
    return info
  }

  /** Does what needs the session here. */
  #atHome<T>(work: () => Promise<T>): Promise<T> {
    return fromOwner(this.#identity, this.#desk.peers, work)
  }

  /** Asks the host that has the session, if that is another one. */
  async #askOwner(what: 'release' | 'interrupt'): Promise<'done' | 'busy' | 'refused'> {
    const { tenant, key, uid } = this.#identity
    const isHere = this.#active.inMemory(this.#identity)?.ownership?.held !== undefined
    const { peers } = this.#desk
    return isHere || peers === undefined ? 'refused' : peers.ask({ do: what, tenant, key, uid })
  }

  /** Keeps the session in memory while it is followed, so that the follower hears of what is added to it. */
  async #followed(): Promise<{ journal: Journal; release: () => void }> {
    const held = this.#active.hold(await this.#active.find(this.#identity))
    const release = (): void => held[Symbol.dispose]()
    try {
      return { journal: journalOf(held.conversation), release }
    } catch (error) {
      release()
      throw error
    }
  }
}

function journalOf({ journal, record }: ActiveSession): Journal {
  if (journal !== undefined) return journal
  throw new ConfigError('events', `are not kept, so session "${record.key}" has none; leave out events: false`)
}
