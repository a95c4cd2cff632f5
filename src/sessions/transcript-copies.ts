import type { Clock } from '../clock.ts'
import type { Driver, SDKMessage, TranscriptPlace } from '../driver/driver.ts'
import { FilesError, ResumeError, StoreError, storeError } from '../errors.ts'
import type { Problems } from '../files/problem.ts'
import type { PoolFiles, SessionOwnership, SessionRecord, TranscriptStores } from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import { NO_MODEL } from '../usage/uncounted-answers.ts'
import type { PoolEmitter, CopyFailure } from '../events.ts'

export interface TranscriptCopiesContext {
  clock: Clock
  driver: Driver
  emitter: PoolEmitter
  files: PoolFiles
  transcripts: TranscriptStores
}

/** The state of a worker's transcript. */
interface Written {
  place: TranscriptPlace
  /** It was found whole up to here, or was there before the worker. */
  bytes: number
  /** The last answer that was not checked yet. */
  said: string | undefined
}

/** The CLI writes before it reports the result, but a slow file system may show it later. Delays of further checks, in milliseconds. */
const LOOK_AGAIN_MS = [50, 150, 300, 500, 1_000]

type ConversationPlace = Pick<SessionRecord, 'tenant' | 'cwd' | 'sdkSessionId'>

/** Of the session that has the conversation; undefined if none has it. */
type Owner = SessionOwnership | undefined

/** Keeps a copy of what the CLI writes of a conversation, and notices what it lacks. */
export class TranscriptCopies {
  readonly #context: TranscriptCopiesContext
  readonly #written = new WeakMap<Worker, Written>()
  /** Workers whose transcripts are being copied. */
  readonly #recopying = new WeakSet<Worker>()

  constructor(context: TranscriptCopiesContext) {
    this.#context = context
  }

  /**
   * Before a conversation is resumed: its transcript is a plain file that agrees with its copy. Throws ResumeError for one that is none,
   * and StoreError.
   */
  async checkResume(conversation: ConversationPlace, ownership: Owner): Promise<void> {
    const { tenant, cwd, sdkSessionId } = conversation
    if (cwd === undefined || sdkSessionId === undefined) return
    const { driver, files, emitter } = this.#context
    try {
      const { configDir, tmpDir } = files.placesOf(tenant)
      await driver.resumeLoad({ configDir, tmpDir, cwd, sessionId: sdkSessionId }, Infinity)
      await this.reconcile(conversation, ownership)
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

  /** Whether conversations have copies, with which another host can go on. */
  get areCopied(): boolean {
    return this.#context.transcripts.copied
  }

  /** Keeps the copy of a conversation for its working directory, which has changed. Rejects with FencedError and StoreError. */
  async move({ tenant, cwd, sdkSessionId }: ConversationPlace, ownership: Owner): Promise<void> {
    if (cwd === undefined || sdkSessionId === undefined) return
    const project = this.#context.driver.projectOf(cwd)
    await this.#context.transcripts.move(tenant, sdkSessionId, project, ownership)
  }

  /** What either side lacks it gets from the other. Throws FilesError and StoreError. */
  async reconcile({ tenant, cwd, sdkSessionId }: ConversationPlace, ownership: Owner): Promise<void> {
    if (!this.#context.transcripts.copied || cwd === undefined || sdkSessionId === undefined) return
    const { configDir, tmpDir } = await this.#context.files.makePlaces(tenant)
    const place = { configDir, tmpDir, cwd, sessionId: sdkSessionId }
    const store = this.#context.transcripts.of(tenant, () => ownership)
    await this.#context.driver.reconcile(place, store)
  }

  /**
   * The files of a conversation, written again from a copy where they are gone: also one that another pool has made. What cannot be read
   * is noted.
   */
  async files(
    conversation: ConversationPlace,
    ownership: Owner,
    problems: Problems,
  ): Promise<{ folder: string; names: string[] }> {
    const { tenant, cwd, sdkSessionId } = conversation
    if (cwd === undefined || sdkSessionId === undefined) return { folder: '', names: [] }
    const { driver, files, transcripts } = this.#context
    try {
      const { configDir, tmpDir } = await files.makePlaces(tenant)
      const place = { configDir, tmpDir, cwd, sessionId: sdkSessionId }
      await this.reconcile(conversation, ownership).catch((error: unknown) => problems.take(error))
      const found = await driver.transcript(place)
      if (found.names.length > 0) return found
      await driver.reconcile(
        place,
        transcripts.of(tenant, () => ownership),
      )
      return await driver.transcript(place)
    } catch (error) {
      problems.take(error)
      return { folder: '', names: [] }
    }
  }

  /** Removes the copy of a conversation that is removed. */
  async forget(tenant: string, place: Parameters<Driver['forget']>[0], ownership: Owner): Promise<void> {
    const store = this.#context.transcripts.of(tenant, () => ownership)
    await this.#context.driver.forget(place, store)
  }

  /** Notes the size of the transcript before a prompt is handed to the worker. */
  async begin(worker: Worker): Promise<void> {
    const { tenant, cwd, sdkSessionId: sessionId } = worker
    if (sessionId === undefined || this.#written.get(worker)?.place.sessionId === sessionId) return
    const { configDir, tmpDir } = await this.#context.files.makePlaces(tenant)
    const place = { configDir, tmpDir, cwd, sessionId }
    const bytes = worker.resumed ? ((await this.#context.driver.checkTranscript(place)) ?? 0) : 0
    this.#written.set(worker, { place, bytes, said: undefined })
  }

  /**
   * Resolves when the transcript has all that the worker said. Otherwise throws StoreError, and the worker leaves: a process
   * that resumes would not know the rest.
   */
  async confirm(worker: Worker): Promise<void> {
    try {
      await this.#confirm(worker)
    } catch (error) {
      void worker.close('transcript')
      throw error
    }
  }

  async #confirm(worker: Worker): Promise<void> {
    const written = this.#written.get(worker)
    if (written?.said === undefined) return
    const { place, bytes: since, said: last } = written
    for (const delayMs of [0, ...LOOK_AGAIN_MS]) {
      if (delayMs > 0) await this.#elapsed(delayMs)
      const bytes = await this.#context.driver.checkTranscript(place, { last, since }).catch((error: unknown) => {
        throw storeError(`the transcript of conversation ${place.sessionId} cannot be read`, error)
      })
      if (bytes === undefined) continue
      Object.assign(written, { bytes, said: written.said === last ? undefined : written.said })
      return
    }
    const { folder } = await this.#context.driver.transcript(place)
    const { trouble } = await this.#context.files.checkDisk({ thorough: false, tenant: worker.tenant })
    const error = notWritten(folder, trouble === 'disk_full')
    this.#failed(worker, 'turn_not_written', error.message)
    throw error
  }

  /** A process says that something was not written: until it is, the worker stays. */
  hear(worker: Worker, message: SDKMessage): void {
    if (isAnswer(message)) this.#recordAnswer(worker, message.uuid)
    if (message.type !== 'system') return
    if (message.subtype === 'mirror_error') this.#failed(worker, message.subtype, message.error)
    if (message.subtype === 'session_writes_lost' && message.lost.includes('transcript')) {
      this.#failed(worker, message.subtype, message.error_code)
    }
  }

  /** Copies what is missing, when the worker has nothing else to do; a failure is tried again at the next occasion. */
  async recopy(worker: Worker): Promise<void> {
    const { session } = worker
    if (!worker.copyFailed || this.#recopying.has(worker) || session === undefined) return
    this.#recopying.add(worker)
    try {
      const { tenant, cwd, sdkSessionId, owner } = worker
      await this.reconcile({ tenant, cwd, sdkSessionId }, owner?.ownership)
      worker.recordCopy({ failed: false })
      this.#context.emitter.tell('transcript.recopied', { session })
    } catch (error) {
      this.#context.emitter.tell('warning', { message: `the transcript of "${session.key}" is not copied yet`, error })
    }
    this.#recopying.delete(worker)
  }

  /** After `/clear` the worker writes a new transcript. */
  #recordAnswer(worker: Worker, uuid: string): void {
    const written = this.#written.get(worker)
    if (written === undefined) return
    const { sdkSessionId: sessionId = written.place.sessionId } = worker
    if (sessionId !== written.place.sessionId)
      Object.assign(written, { place: { ...written.place, sessionId }, bytes: 0 })
    written.said = uuid
  }

  #elapsed(ms: number): Promise<void> {
    return new Promise((resolve) => this.#context.clock.after(ms, resolve))
  }

  #failed(worker: Worker, reason: CopyFailure, error: string): void {
    const { session } = worker
    if (session === undefined) return
    // What the CLI itself could not write is nowhere, and cannot be waited for.
    if (reason === 'mirror_error') worker.recordCopy({ failed: true })
    this.#context.emitter.tell('transcript.copyFailed', { session, reason, error })
    if (worker.state === 'idle') void this.recopy(worker)
  }
}

/** An answer of the model in the conversation itself. The CLI's own messages need not be in the transcript. */
const isAnswer = (message: SDKMessage): message is Extract<SDKMessage, { type: 'assistant' }> =>
  message.type === 'assistant' &&
  message.parent_tool_use_id === null &&
  message.error === undefined &&
  message.message.model !== NO_MODEL

function notWritten(folder: string, isFull: boolean): StoreError {
  return new StoreError(
    `the agent process could not write a part of this turn to its transcript in ${folder}${isFull ? ': the disk is full' : ''}; ` +
      'what the agent did is done, but the next turn knows only what was written. Make room on that disk, then send the prompt again',
    { code: isFull ? 'disk_full' : 'store_failed' },
  )
}
