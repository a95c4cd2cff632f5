import { randomUUID } from 'node:crypto'
import { EventType, contentToText } from '@ag-ui/core'
import type { AGUIEvent, Interrupt, Message, ResumeEntry, RunAgentInput } from '@ag-ui/core'
import { formatDuration } from '../../units.ts'
import { freeKey } from './conversation.ts'
import type { Conversation } from './conversation.ts'
import type { ChatInput } from './input.ts'
import { cutPast, linesOf } from './past.ts'
import type { PastEntry } from './past.ts'
import type { ChatScreen } from './screen.ts'
import { RequestProblem } from '../shared/request-problem.ts'
import type { ServerClient } from '../shared/server-client.ts'
import { toolWords } from './tool-words.ts'

/** Input of a tool that is shown. */
const LONGEST_INPUT = 10_000

interface ServerParts {
  client: ServerClient
  agent: string
  session: string
  input: ChatInput
  screen: ChatScreen
  interactive: boolean
}

/** Tool calls of a turn, by their ids. */
type Calls = Map<string, { name: string; json: string; shown: boolean }>

/** How a run ended. */
type Ending =
  | { kind: 'done' }
  | { kind: 'asked'; interrupts: readonly Interrupt[] }
  | { kind: 'failed'; problem: string }

/** A conversation with a server, which is a front end of AG-UI to it. */
export class ServerConversation implements Conversation {
  readonly #parts: ServerParts
  #key: string
  #abort = new AbortController()
  #interrupted = false
  #messages: readonly Message[] = []

  constructor(parts: ServerParts) {
    this.#parts = parts
    this.#key = parts.session
  }

  get key(): string {
    return this.#key
  }

  async greet(): Promise<void> {
    const { screen, agent, interactive } = this.#parts
    this.#messages = []
    let greeted = false
    const greet = (): void => {
      if (greeted) return
      greeted = true
      const turns = this.#messages.filter(({ role }) => role === 'user').length
      screen.greet(this.#key, { turns, agent })
      if (interactive && turns > 0) screen.past(pastOf(this.#messages))
    }
    // What a turn says that runs meanwhile comes after what was said before.
    const problem = await this.#talk([], (event) => {
      if (event.type === EventType.MESSAGES_SNAPSHOT || event.type === EventType.TEXT_MESSAGE_START) greet()
    })
    greet()
    if (problem !== undefined) screen.problem(problem)
  }

  async say(text: string): Promise<string | undefined> {
    const begun = performance.now()
    const problem = await this.#talk([{ id: randomUUID(), role: 'user', content: text }])
    if (problem === undefined) this.#parts.screen.note(`· ${formatDuration(performance.now() - begun)}`)
    return problem
  }

  /** As every front end stops: its stream ends, and the server interrupts the turn after its grace. */
  interrupt(): void {
    this.#interrupted = true
    this.#abort.abort()
  }

  async facts(): Promise<Record<string, string | number | undefined>> {
    const { client, agent } = this.#parts
    const turns = this.#messages.filter(({ role }) => role === 'user').length
    return { session: this.#key, server: client.url.href, agent, turns }
  }

  async change(wanted: string | undefined): Promise<void> {
    const { session } = this.#parts
    this.#key = wanted ?? (await freeKey(session, (key) => this.#isTaken(key)))
  }

  leave(): void {
    this.interrupt()
  }

  async #isTaken(key: string): Promise<boolean> {
    const { client, agent } = this.#parts
    for await (const event of client.run(agent, this.#input(key, []), this.#abort.signal))
      if (event.type === EventType.MESSAGES_SNAPSHOT) return event.messages.length > 0
    return false
  }

  /** Runs until nothing is asked any more. Resolves with what went wrong. */
  async #talk(messages: Message[], hear: (event: AGUIEvent) => void = () => undefined): Promise<string | undefined> {
    this.#interrupted = false
    this.#abort = new AbortController()
    let resume: ResumeEntry[] = []
    const calls: Calls = new Map()
    try {
      for (;;) {
        const ending = await this.#run(this.#input(this.#key, messages, resume), calls, hear)
        if (ending.kind === 'failed') return ending.problem
        if (ending.kind === 'done') return undefined
        resume = []
        for (const interrupt of ending.interrupts) resume.push(await this.#answer(interrupt))
        // The server has the message.
        messages = []
      }
    } catch (error) {
      if (this.#interrupted) return 'interrupted'
      if (error instanceof RequestProblem) return error.message
      throw error
    }
  }

  async #run(input: RunAgentInput, calls: Calls, hear: (event: AGUIEvent) => void): Promise<Ending> {
    const { client, agent } = this.#parts
    for await (const event of client.run(agent, input, this.#abort.signal)) {
      if (event.type === EventType.MESSAGES_SNAPSHOT) this.#messages = event.messages
      hear(event)
      if (event.type === EventType.RUN_ERROR) return { kind: 'failed', problem: `${event.message} (${event.code})` }
      if (event.type === EventType.RUN_FINISHED) {
        const { outcome } = event
        if (outcome?.type === 'cancelled') return { kind: 'failed', problem: 'the turn was interrupted' }
        return outcome?.type === 'interrupt' ? { kind: 'asked', interrupts: outcome.interrupts } : { kind: 'done' }
      }
      this.#show(event, calls)
    }
    return { kind: 'failed', problem: 'the server ended the stream before the turn' }
  }

  #show(event: AGUIEvent, calls: Calls): void {
    const { screen } = this.#parts
    if (event.type === EventType.TEXT_MESSAGE_START) screen.beginText()
    else if (event.type === EventType.TEXT_MESSAGE_CONTENT) screen.text(event.delta)
    else if (event.type === EventType.TOOL_CALL_START) {
      // A call that was asked about is told of again by the run that answers.
      if (!calls.has(event.toolCallId))
        calls.set(event.toolCallId, { name: event.toolCallName, json: '', shown: false })
    } else if (event.type === EventType.TOOL_CALL_ARGS) {
      const call = calls.get(event.toolCallId)
      if (call?.shown === false && call.json.length < LONGEST_INPUT) call.json += event.delta
    } else if (event.type === EventType.TOOL_CALL_END) {
      const call = calls.get(event.toolCallId)
      if (call?.shown === false) screen.note(`· ${toolWords(call.name, inputOf(call.json))}`)
      if (call !== undefined) call.shown = true
    }
  }

  /** A question of the agent, put to the person. A script answers none. */
  async #answer({ id, message = '', responseSchema, toolCallId }: Interrupt): Promise<ResumeEntry> {
    const { input, interactive, screen } = this.#parts
    const { signal } = this.#abort
    const no: ResumeEntry = { interruptId: id, status: 'cancelled', payload: { message: 'The user gave no answer.' } }
    if (!interactive) return no
    const properties = (responseSchema?.['properties'] ?? {}) as Record<string, { type?: string }>
    if ('approved' in properties || (Object.keys(properties).length === 0 && toolCallId !== undefined)) {
      const approved = await input.confirm(`${message} [y/N] `, signal)
      return { interruptId: id, status: 'resolved', payload: { approved } }
    }
    const isQuestion = 'answers' in properties
    if (!isQuestion) screen.note(message)
    const answers: Record<string, unknown> = {}
    for (const asked of isQuestion ? message.split('\n') : Object.keys(properties)) {
      const text = await input.ask(`${asked}: `, signal)
      if (text === undefined) return no
      answers[asked] = isQuestion ? text : valueOf(text, properties[asked]?.type)
    }
    return { interruptId: id, status: 'resolved', payload: isQuestion ? { answers } : answers }
  }

  #input(threadId: string, messages: Message[], resume: ResumeEntry[] = []): RunAgentInput {
    return {
      protocolVersion: '1.0',
      threadId,
      runId: randomUUID(),
      messages,
      tools: [],
      context: [],
      ...(resume.length === 0 ? {} : { resume }),
    } as RunAgentInput
  }
}

/** What a person typed, as the type that a form wants. */
function valueOf(text: string, type: string | undefined): unknown {
  if (type === 'boolean') return /^(y(es)?|true)$/i.test(text.trim())
  if (type === 'number' || type === 'integer') return Number(text)
  return text
}

function inputOf(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return { input: json }
  }
}

function entriesOf(message: Message): PastEntry[] {
  if (message.role === 'user') return [{ kind: 'prompt', lines: linesOf(contentToText(message.content)) }]
  if (message.role !== 'assistant') return []
  const { content = '', toolCalls = [] } = message
  const text = typeof content === 'string' ? content : ''
  return [
    ...(text === '' ? [] : [{ kind: 'answer' as const, lines: linesOf(text) }]),
    ...toolCalls.map(({ function: call }) => ({
      kind: 'tool' as const,
      lines: [toolWords(call.name, inputOf(call.arguments))],
    })),
  ]
}

const pastOf = (messages: readonly Message[]): ReturnType<typeof cutPast> =>
  cutPast(messages.toReversed().flatMap((message) => entriesOf(message).toReversed()))
