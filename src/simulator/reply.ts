import { randomUUID } from 'node:crypto'
import type { Answer } from './answer.ts'
import type { Fault, Script, Step } from './directives.ts'
import type { Conversation } from './prompt.ts'

/** Says whether a fault strikes this time, and counts that it did. `step` is its number in the script. */
export type Strikes = (fault: Fault, step: number) => boolean

interface NumberedStep {
  step: Step
  number: number
}

/** The steps that this request is about. A tool call ends a request, so each result that came back moves on by one tool. */
function stepsOfRequest(steps: readonly Step[], toolResults: number): NumberedStep[] {
  const numbered = steps.map((step, number) => ({ step, number }))
  const ends = numbered.filter(({ step }) => step.kind === 'tool').map(({ number }) => number + 1)
  const round = Math.min(toolResults, ends.length)
  return numbered.slice(round === 0 ? 0 : ends[round - 1], ends[round] ?? steps.length)
}

/** The answer when no step made one: what the human said, and what the tools said. */
function defaultText({ turn, results }: Conversation, text: string): string {
  const said = results.length > 0 && text === '' ? [] : [`You said: ${text}`]
  return `[turn ${turn}] ${[...said, ...results.map((result) => `tool said: ${result}`)].join('\n')}`
}

/** Answers with this text and nothing else. */
export async function replyWithText(answer: Answer, text: string): Promise<void> {
  await sendText(answer, text)
  await answer.finish('end_turn')
}

/** Answers with a call of this tool and nothing else. */
export async function replyWithTool(answer: Answer, name: string, input: Record<string, unknown>): Promise<void> {
  await answer.open({ type: 'tool_use', id: `toolu_sim_${randomUUID().replaceAll('-', '')}`, name, input })
  await answer.closeBlock()
  await answer.finish('tool_use')
}

async function sendText(answer: Answer, text: string): Promise<void> {
  await answer.open({ type: 'text' })
  if (text !== '') await answer.append(text)
  await answer.closeBlock()
}

const WORDS = 'the quick brown fox jumps over the lazy dog and then rests under a tall green tree near the river'.split(
  ' ',
)

/** The first token tells the turn, so that a long conversation can be checked under load too. */
async function sendTokens(answer: Answer, turn: number, count: number, paceMs: number): Promise<void> {
  await answer.open({ type: 'text' })
  for (let at = 0; at < count; at += 1) {
    if (at > 0 && paceMs > 0) await answer.pause(paceMs)
    await answer.append(at === 0 ? `[turn ${turn}]` : ` ${WORDS[at % WORDS.length]}`, 1)
  }
  await answer.closeBlock()
}

async function sendBulk(answer: Answer, bytes: number, chunkBytes: number): Promise<void> {
  const chunk = 'x'.repeat(Math.min(bytes, chunkBytes))
  await answer.open({ type: 'text' })
  for (let left = bytes; left > 0; left -= chunk.length) await answer.append(chunk.slice(0, left))
  await answer.closeBlock()
}

/** Makes one answer: the steps of this request, then the default text if they made none. */
class Reply {
  /** The answer has reached its end, good or bad. */
  ended = false
  #hasText = false
  #hasContent = false
  readonly #answer: Answer
  readonly #conversation: Conversation
  readonly #text: string
  readonly #strikes: Strikes

  constructor(conversation: Conversation, text: string, answer: Answer, strikes: Strikes) {
    this.#conversation = conversation
    this.#text = text
    this.#answer = answer
    this.#strikes = strikes
  }

  async run({ step, number }: NumberedStep): Promise<void> {
    if (step.kind === 'delay') return this.#answer.pause(step.ms)
    if (step.kind === 'error' || step.kind === 'cut' || step.kind === 'silence') {
      if (this.#strikes(step, number)) await this.#strike(step)
      return
    }
    await this.#send(step)
    this.#hasContent = true
    this.#hasText ||= step.kind !== 'thinking'
    this.ended = step.kind === 'tool'
  }

  async finish(): Promise<void> {
    if (!this.#hasText) await sendText(this.#answer, defaultText(this.#conversation, this.#text))
    await this.#answer.finish('end_turn')
  }

  async #send(step: Exclude<Step, Fault | { kind: 'delay' }>): Promise<void> {
    const answer = this.#answer
    switch (step.kind) {
      case 'say':
        return sendText(answer, step.text)
      case 'tokens':
        return sendTokens(answer, this.#conversation.turn, step.count, step.paceMs)
      case 'text':
        return sendBulk(answer, step.bytes, step.chunkBytes)
      case 'tool':
        return replyWithTool(answer, step.name, step.input)
      case 'thinking':
        await answer.open({ type: 'thinking' })
        await answer.append(step.text)
        return answer.closeBlock()
    }
  }

  async #strike(fault: Fault): Promise<void> {
    this.ended = true
    if (fault.kind === 'silence') return this.#answer.silence()
    if (fault.kind === 'error') {
      return this.#answer.fail(fault.status, `simulated error ${fault.status}`, fault.retryAfterSeconds)
    }
    if (!this.#hasContent) {
      const text = defaultText(this.#conversation, this.#text)
      await this.#answer.open({ type: 'text' })
      await this.#answer.append(text.slice(0, Math.ceil(text.length / 2)))
    }
    await this.#answer.cut()
  }
}

/** Answers one request of the conversation by the script of its last prompt. */
export async function reply(
  conversation: Conversation,
  script: Script,
  answer: Answer,
  strikes: Strikes,
): Promise<void> {
  if (script.problems.length > 0) {
    return replyWithText(answer, script.problems.map((problem) => `[sim] ${problem}`).join('\n'))
  }
  const steps = stepsOfRequest(script.steps, conversation.results.length)
  // Once the stream has begun, pings can cross a delay, but an error cannot have a status any more.
  if (steps[0]?.step.kind === 'delay' && !steps.some(({ step }) => step.kind === 'error')) await answer.begin()
  const made = new Reply(conversation, script.text, answer, strikes)
  for (const step of steps) {
    await made.run(step)
    if (made.ended) return
  }
  await made.finish()
}
