import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Driver, ProcessInfo, ResumeLoad, StartSpec, TranscriptPlace, TranscriptUsage } from '../driver/driver.ts'
import { ResumeError, StartError } from '../errors.ts'
import { FakeProcess } from './process.ts'
import type { FakeConversation } from './process.ts'

/**
 * Runs agents without processes. Each fake process answers at once, until the test says otherwise: `onStart` is the place
 * to take a process in hand before it does anything.
 */
export class FakeDriver implements Driver {
  /** What `lease()` was called with, oldest first. */
  readonly leases: (number | 'lost')[] = []
  /** Every started process, oldest first, ended ones included. */
  readonly processes: FakeProcess[] = []
  /** By SDK session id. */
  readonly conversations: Map<string, FakeConversation> = new Map()
  /** Called with each process as it starts. */
  onStart: ((process: FakeProcess) => void) | undefined
  readonly #clock: Clock
  readonly #watchers = new Set<() => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A fake has no events of its own. */
  attach(): void {}

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** The processes that have not gone, oldest first. */
  get living(): FakeProcess[] {
    return this.processes.filter(({ gone }) => !gone)
  }

  /** Resolves when `condition` holds. It is asked again at everything that a process does or is asked to do. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const watch = (): void => {
        if (!condition()) return
        this.#watchers.delete(watch)
        resolve()
      }
      this.#watchers.add(watch)
      watch()
    })
  }

  /** The process of this number, counted from 0, as soon as it was started. */
  async process(index: number): Promise<FakeProcess> {
    await this.until(() => this.processes.length > index)
    return this.processes[index] as FakeProcess
  }

  trees(): ReadonlyMap<string, ProcessInfo[]> {
    return new Map(this.living.map((process) => [process.spec.workerId, [process.describe()]]))
  }

  start(spec: StartSpec): FakeProcess {
    const process = new FakeProcess(spec, {
      clock: this.#clock,
      number: this.processes.length,
      conversation: (sessionId) => this.#conversation(sessionId),
      changed: () => {
        for (const watch of this.#watchers) watch()
      },
    })
    this.processes.push(process)
    this.onStart?.(process)
    process.begin(this.#obstacle(spec))
    return process
  }

  async fork({ sessionId }: TranscriptPlace): Promise<string> {
    const conversation = this.conversations.get(sessionId)
    if (conversation === undefined) throw new ResumeError(`there is no conversation ${sessionId} to fork`)
    const copy = randomUUID()
    this.conversations.set(copy, { ...conversation, prompts: [...conversation.prompts] })
    return copy
  }

  /** Its conversations are nowhere but here: there is nothing to make agree. */
  reconcile: Driver['reconcile'] = async () => undefined

  async forget({ sessionId }: TranscriptPlace): Promise<void> {
    this.conversations.delete(sessionId)
  }

  /** Fake conversations have no age. */
  lease(until: number | 'lost'): void {
    this.leases.push(until)
  }

  projectOf(cwd: string): string {
    return cwd
  }

  forgetUnknown(): Promise<number> {
    return Promise.resolve(0)
  }

  /** They are in no file either. */
  sizes(): Promise<ReadonlyMap<string, number>> {
    return Promise.resolve(new Map())
  }

  /** Fake conversations are in no file. */
  transcript({ configDir }: TranscriptPlace): Promise<{ folder: string; names: string[] }> {
    return Promise.resolve({ folder: configDir, names: [] })
  }

  /** Only the processes report the usage of fake conversations. */
  usage(): Promise<TranscriptUsage> {
    return Promise.resolve({ saved: undefined, unsaved: [] })
  }

  /** Nothing is written, so nothing can be missing. */
  checkTranscript: Driver['checkTranscript'] = async () => 0

  resumeLoad({ sessionId }: TranscriptPlace, above: number): Promise<ResumeLoad | undefined> {
    const { bytes = 0, compactions = 0 } = this.conversations.get(sessionId) ?? {}
    const load = { bytes, fileBytes: bytes, compaction: compactions === 0 ? undefined : `${compactions}` }
    return Promise.resolve(bytes > above ? { ...load, summedUp: false } : undefined)
  }

  abortError(message: string): Error {
    return Object.assign(new Error(message), { name: 'AbortError' })
  }

  #conversation(sessionId: string): FakeConversation {
    let conversation = this.conversations.get(sessionId)
    if (conversation === undefined) {
      conversation = { turns: 0, prompts: [] }
      this.conversations.set(sessionId, conversation)
    }
    return conversation
  }

  #fork(of: string, sessionId: string): Error | undefined {
    const conversation = this.conversations.get(of)
    if (conversation === undefined) return new ResumeError(`No conversation found with session ID: ${of}`)
    this.conversations.set(sessionId, { ...conversation, prompts: [...conversation.prompts] })
    return undefined
  }

  /** What the CLI itself would refuse. */
  #obstacle({ conversation }: StartSpec): Error | undefined {
    if (conversation.kind === 'unbound') return undefined
    if (conversation.kind === 'fork') return this.#fork(conversation.of, conversation.sessionId)
    const known = this.conversations.has(conversation.sessionId)
    if (conversation.kind === 'resume' && !known) {
      return new ResumeError(`No conversation found with session ID: ${conversation.sessionId}`)
    }
    if (conversation.kind === 'resume' || !known) return undefined
    return new StartError('initialize', `Session ID ${conversation.sessionId} is already in use.`)
  }
}
