import type { RunAgentInput, UserMessage } from '@ag-ui/core'
import type { NumberedEvent, Session, SessionEvent } from '../../index.ts'
import { digestOf, readableBlocks } from './content.ts'
import { keepsNone, markOf, readPrompts, saidIn } from './history.ts'
import type { SaidMark } from './history.ts'
import { isUser } from './input.ts'

/**
 * What became of a message of the user. `interrupted`: it counts as run. `failed`: it was run and may be tried again.
 * `unsent`: no agent has had it.
 */
export type Fate = 'running' | 'done' | 'interrupted' | 'failed' | 'unsent'

/** Messages that a session knows by their ids. */
const MOST_MESSAGES = 300

const PAGE = 100

/** Events that tell how a turn ended. */
const FATEFUL = [
  'session.status_running',
  'session.status_idle',
  'user.interrupt',
  'agent.message',
  'agent.tool_use',
  'agent.mcp_tool_use',
  'agent.custom_tool_use',
]

/** So many of them are read of one turn. */
const MOST_EVENTS = 2_000

interface Said {
  digest: string
  /** Of the event of its prompt; undefined while that is not known. */
  number: number | undefined
  /** Undefined: the session's events tell. */
  fate: Fate | undefined
  mark: SaidMark | undefined
}

/** The user's messages that a session has had, by the ids that front ends gave them. They are kept in its events. */
export class SaidMessages {
  readonly #session: Session
  /** Oldest first. */
  readonly #said = new Map<string, Said>()
  #loading: Promise<void> | undefined

  constructor(session: Session) {
    this.#session = session
  }

  /** Reads what earlier hosts have noted. Throws StoreError, SessionGoneError, PoolClosedError. */
  ready(): Promise<void> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined
      throw error
    })
    return this.#loading
  }

  /** The number of the event of its prompt, where that is known. */
  numberOf({ id }: UserMessage): number | undefined {
    return this.#said.get(id)?.number
  }

  /** What became of it; undefined for one that is new, or says something else than the one of the same id. */
  async fateOf(message: UserMessage): Promise<Fate | undefined> {
    const said = this.#said.get(message.id)
    if (said === undefined || said.digest !== digestOf(readableBlocks(message.content))) return undefined
    if (said.fate !== undefined) return said.fate
    const fate = await this.#readFate(said)
    if (fate !== 'running') said.fate = fate
    return fate
  }

  /** The id of the last message before these. */
  idBefore(messages: readonly UserMessage[]): string | undefined {
    const ids = new Set(messages.map(({ id }) => id))
    return [...this.#said.keys()].findLast((id) => !ids.has(id))
  }

  /** They are on their way to the agent, as this mark says. */
  begin(messages: readonly UserMessage[], mark: SaidMark): void {
    for (const { id, content } of messages) {
      // The newest one is last.
      this.#said.delete(id)
      this.#said.set(id, { digest: digestOf(readableBlocks(content)), number: undefined, fate: 'running', mark })
    }
    this.#forgetOldest()
  }

  /** What became of the messages with this mark, as far as none was sent again. */
  note(mark: SaidMark, facts: { fate?: Fate; number?: number }): void {
    for (const { id } of mark.messages) {
      const said = this.#said.get(id)
      if (said?.mark === mark) Object.assign(said, facts)
    }
  }

  /** What events of the session tell of: also messages that came by other ways. */
  learn(events: readonly NumberedEvent[]): void {
    for (const { number, event } of events) {
      const mark = markOf(event)
      for (const { id, content } of saidIn(event)) {
        const digest = digestOf(content)
        const known = this.#said.get(id)
        if (known === undefined) this.#said.set(id, { digest, number, fate: undefined, mark })
        else if (known.digest === digest) known.number = Math.max(known.number ?? 0, number)
      }
    }
    this.#forgetOldest()
  }

  async #load(): Promise<void> {
    const newestFirst: [string, Said][] = []
    let before: number | undefined
    while (newestFirst.length < MOST_MESSAGES) {
      const page = await this.#readPrompts(before)
      for (const { number, event } of page) {
        const mark = markOf(event)
        for (const { id, content } of saidIn(event).toReversed())
          newestFirst.push([id, { digest: digestOf(content), number, fate: undefined, mark }])
      }
      before = page.at(-1)?.number
      if (page.length < PAGE) break
    }
    for (const [id, said] of newestFirst.toReversed()) {
      // What was said again has moved.
      this.#said.delete(id)
      this.#said.set(id, said)
    }
  }

  #forgetOldest(): void {
    for (const id of this.#said.keys()) {
      if (this.#said.size <= MOST_MESSAGES) break
      this.#said.delete(id)
    }
  }

  async #readPrompts(before: number | undefined): Promise<NumberedEvent[]> {
    try {
      return await readPrompts(this.#session, before, PAGE)
    } catch (error) {
      if (keepsNone(error)) return []
      throw error
    }
  }

  async #readFate({ number, mark }: Said): Promise<Fate> {
    if (number === undefined) return 'unsent'
    const fate = new FateReader(mark)
    for (let after = number, read = 0; read < MOST_EVENTS; read += PAGE) {
      const page = await this.#session.history({ after, types: FATEFUL, limit: PAGE })
      for (const { event } of page) if (fate.over(event)) return fate.fate
      after = page.at(-1)?.number ?? after
      if (page.length < PAGE) return 'running'
    }
    return 'done'
  }
}

/** Tells from the events after a prompt what became of it. */
class FateReader {
  #behind: number
  #begun: boolean
  #answered = false
  #interrupted = false
  fate: Fate = 'unsent'

  constructor(mark: SaidMark | undefined) {
    this.#behind = mark?.behind ?? 0
    this.#begun = mark?.steers === true
  }

  /** True when it is known. */
  over(event: SessionEvent): boolean {
    if (event.type === 'session.status_idle' && event.stop_reason.type !== 'requires_action') {
      this.#behind -= 1
      if (this.#behind >= 0) return false
      this.fate = this.#fateBy(event.stop_reason.type)
      return true
    }
    if (this.#behind > 0) return false
    if (event.type === 'session.status_running') this.#begun = true
    else if (event.type === 'user.interrupt') this.#interrupted = true
    else if (event.type.startsWith('agent.')) this.#answered = true
    return false
  }

  #fateBy(stop: string): Fate {
    if (!this.#begun) return stop === 'end_turn' ? 'interrupted' : 'unsent'
    if (this.#interrupted) return 'interrupted'
    // A success without an answer is none.
    return (stop === 'end_turn' || stop === 'refusal') && this.#answered ? 'done' : 'failed'
  }
}

/** What a run brings. */
export interface News {
  /** What no agent has had, in order. */
  messages: UserMessage[]
  /** The last message of the user that the session knows, and what became of it. */
  last: { message: UserMessage; fate: Fate } | undefined
}

/**
 * The messages of a run that the agent does not know. The protocol sends the whole history each time, of which the session has
 * its own: new is what comes after the last message that the agent has had, or after the last answer where it has had none;
 * and what could not be sent before.
 */
export async function newsOf(messages: RunAgentInput['messages'], said: SaidMessages): Promise<News> {
  const fresh: { message: UserMessage; index: number; fate: Fate | undefined }[] = []
  for (let index = messages.length - 1; index >= 0; index -= 1) {
    const message = messages[index] as RunAgentInput['messages'][number]
    if (!isUser(message)) continue
    const fate = await said.fateOf(message)
    if (fate !== undefined && fate !== 'unsent')
      return { messages: fresh.toReversed().map((entry) => entry.message), last: { message, fate } }
    fresh.push({ message, index, fate })
  }
  const answered = messages.findLastIndex((message) => !isUser(message))
  const isNew = fresh.filter(({ index, fate }) => fate === 'unsent' || index > answered)
  return { messages: isNew.toReversed().map(({ message }) => message), last: undefined }
}
