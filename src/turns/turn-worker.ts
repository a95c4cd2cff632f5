import type { InterruptReceipt, SDKUserMessage } from '../driver/driver.ts'

/** What a turn needs of the worker that runs it. */
export interface TurnWorker {
  readonly id: string
  readonly process: {
    readonly lastOutputAt: number
    readonly heldBack: boolean
    interrupt(): Promise<InterruptReceipt | void>
    consumed(): void
  }
  readonly openPermissionRequests: number
  /** MCP servers that the process still waits for. */
  readonly pendingServers?: readonly string[]
  /** Clock reading of the last answer to a permission request. */
  readonly lastAnswerAt: number
  send(message: SDKUserMessage): Promise<boolean>
  /** Ends the process; the turn then hears of it. */
  close(reason: 'limit' | 'unresponsive' | 'exited'): Promise<void>
}
