import type { SDKMessage } from '../driver/driver.ts'
import type { ToolStep } from '../store/store.ts'

/** A message of the model's has far fewer calls. */
const MAX_CALLS = 1_000

const LONGEST_NAME = 128

type Assistant = Extract<SDKMessage, { type: 'assistant' }>
type User = Extract<SDKMessage, { type: 'user' }>

/**
 * The tool calls of a turn that have no result yet, oldest first. A subagent's calls count while the call that started
 * the subagent waits for it; those of a subagent in the background hold up no turn.
 */
export class OpenCalls {
  readonly #calls = new Map<string, { name: string; parent: string | null; startMs: number }>()
  readonly #onEnd: (step: ToolStep) => void

  /** `onEnd` gets each call that has ended. */
  constructor(onEnd: (step: ToolStep) => void = () => undefined) {
    this.#onEnd = onEnd
  }

  /** Takes the calls of an answer of the model. `nowMs`: milliseconds since the turn began, as for all methods. */
  begin({ message, parent_tool_use_id: parent }: Assistant, nowMs: number): void {
    if (parent !== null && !this.#calls.has(parent)) return
    for (const block of message.content)
      if (block.type === 'tool_use' && this.#calls.size < MAX_CALLS)
        this.#calls.set(block.id, { name: block.name, parent, startMs: nowMs })
  }

  /** Takes the results of calls. */
  end({ message }: User, nowMs: number): void {
    if (typeof message.content === 'string') return
    for (const block of message.content)
      if (block.type === 'tool_result') this.#remove(block.tool_use_id, nowMs, block.is_error === true)
  }

  /** Ends the calls that have no result. */
  clear(nowMs: number): void {
    for (const id of this.#calls.keys()) this.#remove(id, nowMs, true)
  }

  /** The name of the call that runs longest and waits for no call of a subagent; undefined: no call runs. */
  get longest(): string | undefined {
    const waiting = new Set(Array.from(this.#calls.values(), ({ parent }) => parent))
    for (const [id, { name }] of this.#calls) if (!waiting.has(id)) return name
    return undefined
  }

  #remove(id: string, nowMs: number, failed: boolean): void {
    const call = this.#calls.get(id)
    if (call === undefined) return
    this.#calls.delete(id)
    for (const [child, { parent }] of this.#calls) if (parent === id) this.#remove(child, nowMs, true)
    const { name, startMs } = call
    this.#onEnd({ type: 'tool', name: name.slice(0, LONGEST_NAME), id, failed, startMs, durationMs: nowMs - startMs })
  }
}
