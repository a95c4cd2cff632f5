import { randomUUID } from 'node:crypto'
import type { Fault, Script, Step } from './directives.ts'
import type { Conversation } from './prompt.ts'
import type { Answer } from './stream.ts'

/** Says whether a fault strikes this time, and counts that it did. */
export type Strikes = (fault: Fault, stepNumber: number) => boolean

type NumberedStep = { step: Step; number: number }

const isTool = ({ step }: NumberedStep): boolean => step.kind === 'tool'

/** The steps that this request is about. A tool call ends a request, so each result that came back moves on by one tool. */
function stepsOfRequest(steps: readonly Step[], toolResults: number): NumberedStep[] {
  const numbered = steps.map((step, number) => ({ step, number }))
  const ends = numbered.filter(isTool).map(({ number }) => number + 1)
  const round = Math.min(toolResults, ends.length)
  return numbered.slice(round === 0 ? 0 : ends[round - 1], ends[round] ?? steps.length)
}

/** The answer when no step made one: what the human said, and what the tools said. */
function defaultText({ turn, results }: Conversation, text: string): string {
  const lines = results.map((result) => `tool said: ${result}`)
  if (lines.length === 0 || text !== '') lines.unshift(`You said: ${text}`)
  return `[turn ${turn}] ${lines.join('\n')}`
}

const WORDS = 'the quick brown fox jumps over the lazy dog and then rests under a tall green tree near the river'.split(
  ' ',
)

async function sendText(answer: Answer, text: string): Promise<void> {
  await answer.open({ type: 'text' })
  if (text !== '') await answer.append(text)
  await answer.closeBlock()
}

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

async function sendHalf(answer: Answer, text: string): Promise<void> {
  await answer.open({ type: 'text' })
  await answer.append(text.slice(0, Math.ceil(text.length / 2)))
}

/** Makes one answer: the steps of this request, then the default text if they made none. */
class Reply {
  /** True once the answer has reached its end, good or bad. */
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
    const answer = this.#answer
    switch (step.kind) {
      case 'delay':
        return answer.pause(step.ms)
      case 'say':
        return this.#made(sendText(answer, step.text))
      case 'tokens':
        return this.#made(sendTokens(answer, this.#conversation.turn, step.count, step.paceMs))
      case 'text':
        return this.#made(sendBulk(answer, step.bytes, step.chunkBytes))
      case 'thinking':
        await answer.open({ type: 'thinking' })
        await answer.append(step.text)
        this.#hasContent = true
        return answer.closeBlock()
      case 'tool':
        await answer.open({
          type: 'tool_use',
          id: `toolu_sim_${randomUUID().replaceAll('-', '')}`,
          name: step.name,
          input: step.input,
        })
        await answer.closeBlock()
        return this.#end(answer.finish('tool_use'))
      default:
        if (this.#strikes(step, number)) await this.#strike(step)
    }
  }

  async finish(): Promise<void> {
    if (!this.#hasText) await sendText(this.#answer, defaultText(this.#conversation, this.#text))
    await this.#end(this.#answer.finish('end_turn'))
  }

  async #strike(fault: Fault): Promise<void> {
    if (fault.kind === 'silence') return this.#answer.silence()
    if (fault.kind === 'error') {
      const message = `simulated error ${fault.status}`
      return this.#end(this.#answer.fail(fault.status, message, fault.retryAfterSeconds))
    }
    if (!this.#hasContent) await sendHalf(this.#answer, defaultText(this.#conversation, this.#text))
    await this.#end(this.#answer.cut())
  }

  async #made(content: Promise<void>): Promise<void> {
    await content
    this.#hasText = true
    this.#hasContent = true
  }

  async #end(ending: Promise<void>): Promise<void> {
    await ending
    this.ended = true
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
    await sendText(answer, script.problems.map((problem) => `[sim] ${problem}`).join('\n'))
    return answer.finish('end_turn')
  }
  const made = new Reply(conversation, script.text, answer, strikes)
  for (const step of stepsOfRequest(script.steps, conversation.results.length)) {
    await made.run(step)
    if (made.ended) return
  }
  await made.finish()
}
