import type { Permission, Permissions } from '../agents/permissions.ts'
import type { NewSessionEvent } from '../journal/session-event.ts'
import { keepNewest } from '../newest.ts'

/** The event of a call that may need a permission. */
export type GatedCall = Extract<NewSessionEvent, { type: 'agent.tool_use' | 'agent.mcp_tool_use' }>

/** The CLI asks, or says that it refuses, within milliseconds of its own time, and within half a second on busy cores: after this a call runs. */
const DECIDED_WITHIN_MS = 1_000

/** More calls than a message of the model has. */
const MAX_EARLY = 100

const nameOf = (call: GatedCall): string =>
  call.type === 'agent.tool_use' ? call.name : `mcp__${call.mcp_server_name}__${call.name}`

interface HeldCallsContext {
  permissions: Permissions
  /** Resolves after so many milliseconds. */
  elapsed: (ms: number) => Promise<void>
  /** Resolves when the process has answered a question, so that everything it said before has been heard. */
  caughtUp: () => Promise<void>
  /** Takes a call that was held, once its permission is known. */
  tell: (call: GatedCall) => void
}

/**
 * Tool calls of one turn on their way to its events, which are to say what the permission is. Where the agent's own policy
 * says so, a call passes at once. Where the CLI decides, a call is held until that is known.
 */
export class HeldCalls {
  readonly #context: HeldCallsContext
  readonly #held = new Map<string, GatedCall>()
  /** What was known of a call before the message that it came in: that the CLI has come to it, or its permission. */
  readonly #early = new Map<string, Permission | 'told'>()

  constructor(context: HeldCallsContext) {
    this.#context = context
  }

  /** The call as it is told now; undefined while it is held. */
  hear(call: GatedCall): GatedCall | undefined {
    const { permissions } = this.#context
    const id = call.id ?? ''
    const early = this.#early.get(id)
    this.#early.delete(id)
    const known = permissions.of(nameOf(call)) ?? (early === 'told' ? undefined : early)
    if (known !== undefined) return { ...call, evaluated_permission: known }
    this.#held.set(id, call)
    if (early === 'told' || !permissions.callsTold) this.#expectDecision(id)
    return undefined
  }

  /** The CLI comes to this call: it asks or refuses soon, or never. */
  reached(id: string): void {
    if (this.#held.has(id)) this.#expectDecision(id)
    else this.#note(id, 'told')
  }

  /** The CLI has decided. */
  decided(id: string, permission: Permission): void {
    const call = this.take(id, permission)
    if (call === undefined) this.#note(id, permission)
    else this.#context.tell(call)
  }

  /** The call of this id, if it is held: what follows it is about to be told. */
  take(id: string, permission: Permission): GatedCall | undefined {
    const call = this.#held.get(id)
    this.#held.delete(id)
    return call === undefined ? undefined : { ...call, evaluated_permission: permission }
  }

  /** All that are held: the turn ends, and nothing will be known of them. */
  takeAll(): GatedCall[] {
    const calls = [...this.#held.values()]
    this.#held.clear()
    return calls
  }

  #expectDecision(id: string): void {
    const { elapsed, caughtUp, tell } = this.#context
    const runs = (): void => {
      const call = this.take(id, 'allow')
      if (call !== undefined) tell(call)
    }
    // A host or a process that gets no CPU time may be late with what was decided long ago.
    void elapsed(DECIDED_WITHIN_MS).then(caughtUp).then(runs, runs)
  }

  #note(id: string, known: Permission | 'told'): void {
    this.#early.set(id, known)
    keepNewest(this.#early, MAX_EARLY)
  }
}
