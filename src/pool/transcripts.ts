import type { Driver, SDKMessage, SessionStore } from '../driver/driver.ts'
import { FilesError, ResumeError } from '../errors.ts'
import type { Problems } from '../files/problem.ts'
import type { PoolFiles, SessionRecord, TenantPlaces } from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import type { PoolEmitter, TranscriptTrouble } from './events.ts'

export interface TranscriptsContext {
  driver: Driver
  emitter: PoolEmitter
  places: (tenant: string) => Promise<TenantPlaces>
  files: Pick<PoolFiles, 'placesOf'>
  /** Whether what the CLI writes of a conversation is copied to the store. */
  copiesTranscripts: boolean
  /** The store's copies of a tenant's transcripts. */
  transcriptStore: (tenant: string) => SessionStore
}

type ConversationPlace = Pick<SessionRecord, 'tenant' | 'cwd' | 'sdkSessionId'>

/** Keeps a copy of what the CLI writes of a conversation, and notices what it lacks. */
export class Transcripts {
  readonly #context: TranscriptsContext

  constructor(context: TranscriptsContext) {
    this.#context = context
  }

  /** What a process copies to. It gets nothing from there: its own files come first, and are made to be there. */
  mirror(tenant: string): { sessionStore?: SessionStore } {
    if (!this.#context.copiesTranscripts) return {}
    const store = this.#context.transcriptStore(tenant)
    return { sessionStore: { append: (key, entries) => store.append(key, entries), load: async () => null } }
  }

  /**
   * Before a conversation is resumed: its transcript is a plain file that agrees with its copy. Throws ResumeError for one that is none,
   * and StoreError.
   */
  async checkResume(conversation: ConversationPlace): Promise<void> {
    const { tenant, cwd, sdkSessionId } = conversation
    if (cwd === undefined || sdkSessionId === undefined) return
    const { driver, files, emitter } = this.#context
    try {
      const { configDir, tmpDir } = files.placesOf(tenant)
      await driver.resumeLoad({ configDir, tmpDir, cwd, sessionId: sdkSessionId }, Infinity)
      await this.reconcile(conversation)
    } catch (error) {
      if (!(error instanceof FilesError)) throw error
      if (error.problems.every(({ reason }) => reason === 'too_large'))
        return emitter.tell('warning', {
          message: `the transcript ${sdkSessionId} is not compared with its copy`,
          error,
        })
      throw new ResumeError(`its transcript cannot be used: ${error.message}`, { cause: error })
    }
  }

  /** What either side lacks it gets from the other. Throws FilesError and StoreError. */
  async reconcile({ tenant, cwd, sdkSessionId }: ConversationPlace): Promise<void> {
    if (!this.#context.copiesTranscripts || cwd === undefined || sdkSessionId === undefined) return
    const { configDir, tmpDir } = await this.#context.places(tenant)
    const place = { configDir, tmpDir, cwd, sessionId: sdkSessionId }
    await this.#context.driver.reconcile(place, this.#context.transcriptStore(tenant))
  }

  /**
   * The files of a conversation, written again from a copy where they are gone: also one that another pool has made. What cannot be read
   * is noted.
   */
  async files(conversation: ConversationPlace, problems: Problems): Promise<{ folder: string; names: string[] }> {
    const { tenant, cwd, sdkSessionId } = conversation
    if (cwd === undefined || sdkSessionId === undefined) return { folder: '', names: [] }
    const { driver, places, transcriptStore } = this.#context
    try {
      const { configDir, tmpDir } = await places(tenant)
      const place = { configDir, tmpDir, cwd, sessionId: sdkSessionId }
      await this.reconcile(conversation).catch((error: unknown) => problems.take(error))
      const found = await driver.transcript(place)
      if (found.names.length > 0) return found
      await driver.reconcile(place, transcriptStore(tenant))
      return await driver.transcript(place)
    } catch (error) {
      problems.take(error)
      return { folder: '', names: [] }
    }
  }

  /** Removes the copy of a conversation that is removed. */
  async forget(tenant: string, place: Parameters<Driver['forget']>[0]): Promise<void> {
    await this.#context.driver.forget(place, this.#context.transcriptStore(tenant))
  }

  /** A process says that something was not written: until it is, the worker stays. */
  hear(worker: Worker, message: SDKMessage): void {
    if (message.type !== 'system') return
    if (message.subtype === 'mirror_error') this.#unsafe(worker, message.subtype, message.error)
    if (message.subtype === 'session_writes_lost' && message.lost.includes('transcript')) {
      this.#unsafe(worker, message.subtype, message.error_code)
    }
  }

  /** Copies what is missing, when the worker has nothing else to do; a failure is tried again at the next occasion. */
  async mend(worker: Worker): Promise<void> {
    const { session } = worker
    if (!worker.transcriptUnsafe || worker.mending || session === undefined) return
    worker.mending = true
    try {
      await this.reconcile({ tenant: worker.tenant, cwd: worker.cwd, sdkSessionId: worker.sdkSessionId })
      worker.noteTranscript({ unsafe: false })
      this.#context.emitter.tell('transcript.safe', { session })
    } catch (error) {
      this.#context.emitter.tell('warning', { message: `the transcript of "${session.key}" is not copied yet`, error })
    }
    worker.mending = false
  }

  #unsafe(worker: Worker, reason: TranscriptTrouble, error: string): void {
    const { session } = worker
    if (session === undefined) return
    // What the CLI itself could not write is nowhere, and cannot be waited for.
    if (reason === 'mirror_error') worker.noteTranscript({ unsafe: true })
    this.#context.emitter.tell('transcript.unsafe', { session, reason, error })
    if (worker.state === 'idle') void this.mend(worker)
  }
}
