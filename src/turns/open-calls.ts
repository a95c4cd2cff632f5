import type { SDKMessage } from '../driver/driver.ts'

/** A message of the model's has far fewer calls. */
const MAX_CALLS = 1_000

type Assistant = Extract<SDKMessage, { type: 'assistant' }>
type User = Extract<SDKMessage, { type: 'user' }>

/**
 * The tool calls of a turn that have no result yet, oldest first. A subagent's calls count while the call that started
 * the subagent waits for it; those of a subagent in the background hold up no turn.
 */
export class OpenCalls {
  readonly #calls = new Map<string, { name: string; parent: string | null }>()

  /** Takes the calls of an answer of the model. */
  begin({ message, parent_tool_use_id: parent }: Assistant): void {
    if (parent !== null && !this.#calls.has(parent)) return
    for (const block of message.content)
      if (block.type === 'tool_use' && this.#calls.size < MAX_CALLS)
        this.#calls.set(block.id, { name: block.name, parent })
  }

  /** Takes the results of calls. */
  end({ message }: User): void {
    if (typeof message.content === 'string') return
    for (const block of message.content) if (block.type === 'tool_result') this.#remove(block.tool_use_id)
  }

  clear(): void {
    this.#calls.clear()
  }

  /** The name of the call that runs longest and waits for no call of a subagent; undefined: no call runs. */
  get longest(): string | undefined {
    const waiting = new Set(Array.from(this.#calls.values(), ({ parent }) => parent))
    for (const [id, { name }] of this.#calls) if (!waiting.has(id)) return name
    return undefined
  }

  #remove(id: string): void {
    if (!this.#calls.delete(id)) return
    for (const [child, { parent }] of this.#calls) if (parent === id) this.#remove(child)
  }
}
