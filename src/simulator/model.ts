import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { auxiliaryAnswer, searchesFor } from './auxiliary.ts'
import type { Answer } from './answer.ts'
import { type Fault, parseScript, type Script } from './directives.ts'
import { type Conversation, readConversation } from './prompt.ts'
import type { Recording } from './record.ts'
import { reply, replyWithText, replyWithTool } from './reply.ts'
import { type Scenario, stepsFor } from './scenario.ts'
import { StreamedAnswer } from './stream.ts'
import { WholeAnswer } from './whole.ts'
import { type ModelRequest, tokensOf } from './wire.ts'
import { keepNewest } from '../newest.ts'

/** One request to the model, and the way to answer it. */
export interface ModelCall {
  readonly request: ModelRequest
  /** The size of the request's text. */
  readonly characters: number
  readonly response: ServerResponse
  readonly signal: AbortSignal
  readonly recording: Recording
}

/** Prompts whose faults are counted. The oldest is forgotten first: its fault would strike again. */
const MAX_COUNTERS = 10_000

/** The simulated model. All it remembers is how often each limited fault has struck; the rest is in the request. */
export class Model {
  readonly #scenario: Scenario | undefined
  readonly #pingMs: number
  readonly #struck = new Map<string, number>()

  constructor(scenario: Scenario | undefined, pingMs: number) {
    this.#scenario = scenario
    this.#pingMs = pingMs
  }

  async answer(call: ModelCall): Promise<void> {
    const { request, recording } = call
    const conversation = readConversation(request.messages)
    recording.turn = conversation.turn
    recording.prompt = conversation.prompt
    const answer = this.#answerTo(call)
    const auxiliary = auxiliaryAnswer(request, conversation)
    if (auxiliary?.kind === 'text') return replyWithText(answer, auxiliary.text)
    if (auxiliary?.kind === 'tool') return replyWithTool(answer, auxiliary.name, auxiliary.input)
    const strikes = (fault: Fault, step: number): boolean => {
      const hit = this.#strikes(fault, step, conversation, recording)
      if (hit && fault.kind === 'cut') recording.outcome = 'cut'
      return hit
    }
    await reply(conversation, this.#scriptOf(conversation), answer, strikes)
  }

  #answerTo({ request, characters, response, signal, recording }: ModelCall): Answer {
    const messageId = `msg_sim_${randomUUID().replaceAll('-', '')}`
    const about = { requestId: recording.id, messageId, model: request.model, inputTokens: tokensOf(characters) }
    const facts = { response, signal, ...about, webSearches: searchesFor(request), pingMs: this.#pingMs }
    return request.stream === true ? new StreamedAnswer(facts) : new WholeAnswer(facts)
  }

  /** The prompt's own directives, else those of the scenario. */
  #scriptOf({ prompt }: Conversation): Script {
    const script = parseScript(prompt)
    const isPlain = script.steps.length === 0 && script.problems.length === 0
    return isPlain && this.#scenario !== undefined ? { ...script, steps: stepsFor(this.#scenario, prompt) } : script
  }

  #strikes({ times }: Fault, step: number, { turn, prompt }: Conversation, { headers }: Recording): boolean {
    if (times === Number.POSITIVE_INFINITY) return true
    const key = JSON.stringify([headers['x-claude-code-session-id'], turn, prompt, step])
    const struck = this.#struck.get(key) ?? 0
    if (struck >= times) return false
    this.#struck.set(key, struck + 1)
    keepNewest(this.#struck, MAX_COUNTERS)
    return true
  }
}
