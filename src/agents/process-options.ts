import type { CanUseTool, HookCallback, OnElicitation, OnUserDialog, Options } from '../driver/driver.ts'
import type { Agent, PoolCanUseTool, PoolOnElicitation, PrepareTurn, WorkerContext } from './agent.ts'
import type { PermissionAnswer, PermissionQuestion } from './question.ts'
import { clientToolName } from './question.ts'

/** Options that are unsafe when left out; an agent may set them otherwise. */
const SAFE = {
  mcpServersDelivery: 'initialize',
  settingSources: [],
  strictMcpConfig: true,
  verbatimPrompts: true,
} as const satisfies Options

/** What the worker learns from its agent's callbacks. */
export interface CallbackListeners {
  /** `of`: whether the process waits for a decision, or for what comes of a call that the client executes. */
  permissionRequest(change: 1 | -1, of: PermissionQuestion['asks']): void
  /** The CLI comes to a tool call, right before it decides whether that may run. */
  called(toolUseId: string): void
  asked(question: PermissionQuestion): void
  answered(question: PermissionQuestion, answer: PermissionAnswer): void
  beforeTurn(prepare: PrepareTurn): void
}

/** The SDK options of one process of this agent. */
export function sdkOptions(
  agent: Agent,
  worker: Pick<WorkerContext, 'session'>,
  listeners: CallbackListeners,
  claudePath: string | undefined,
): Options {
  const { canUseTool, mcpServers, inProcessServers, onElicitation, onUserDialog, cwd, env, ...rest } =
    agent.processOptions
  const counted = async <T>(ask: () => Promise<T>, of: PermissionQuestion['asks'] = 'permission'): Promise<T> => {
    listeners.permissionRequest(1, of)
    try {
      return await ask()
    } finally {
      listeners.permissionRequest(-1, of)
    }
  }
  const context: WorkerContext = {
    get session() {
      return worker.session
    },
    awaitClient: ({ toolUseId, name, input, signal }, work) =>
      counted(async () => {
        const question = { asks: 'result' as const, toolUseId, name: clientToolName(name), input, subagent: false }
        listeners.asked(question)
        try {
          return await unlessWithdrawn(signal, work)
        } finally {
          listeners.answered(question, { result: signal?.aborted === true ? 'withdrawn' : 'allow' })
        }
      }, 'result'),
    beforeTurn: (prepare) => listeners.beforeTurn(prepare),
  }
  const servers = {
    ...inProcessServers?.(context),
    ...(typeof mcpServers === 'function' ? mcpServers(context) : mcpServers),
  }
  return {
    permissionMode: canUseTool === undefined ? 'dontAsk' : 'default',
    ...(claudePath === undefined ? {} : { pathToClaudeCodeExecutable: claudePath }),
    ...SAFE,
    ...rest,
    ...(agent.permissions.callsTold ? { hooks: withCalls(rest.hooks, listeners) } : {}),
    ...(mcpServers === undefined && inProcessServers === undefined ? {} : { mcpServers: servers }),
    ...(canUseTool === undefined ? {} : { canUseTool: asking(canUseTool, context, listeners, counted) }),
    ...(onElicitation === undefined ? {} : { onElicitation: elicitation(onElicitation, context, counted) }),
    ...(onUserDialog === undefined ? {} : { onUserDialog: dialog(onUserDialog, counted) }),
  }
}

/** The agent was interrupted while it waited. */
class WithdrawnError extends Error {
  constructor() {
    super('the agent was interrupted, and waits for the answer no more')
  }
}

/** Waits for the host's answer. Rejects with WithdrawnError as soon as the agent waits no more. */
function unlessWithdrawn<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
  if (signal === undefined) return ask()
  return new Promise<T>((resolve, reject) => {
    const withdraw = (): void => reject(new WithdrawnError())
    const settled = (): void => signal.removeEventListener('abort', withdraw)
    if (signal.aborted) withdraw()
    signal.addEventListener('abort', withdraw, { once: true })
    ask().then(
      (answer) => {
        settled()
        resolve(answer)
      },
      (error: unknown) => {
        settled()
        reject(error as Error)
      },
    )
  })
}

type Counted = <T>(ask: () => Promise<T>) => Promise<T>

const asking =
  (canUseTool: PoolCanUseTool, context: WorkerContext, listeners: CallbackListeners, counted: Counted): CanUseTool =>
  (name, input, options) =>
    counted(async () => {
      const { toolUseID: toolUseId, agentID } = options
      const question = { asks: 'permission' as const, toolUseId, name, input, subagent: agentID !== undefined }
      listeners.asked(question)
      try {
        const { signal } = options
        const answer = await unlessWithdrawn(signal, () =>
          canUseTool(name, input, { ...options, session: context.session }),
        )
        if (answer?.behavior === 'allow') listeners.answered(question, { result: 'allow' })
        if (answer?.behavior === 'deny') listeners.answered(question, { result: 'deny', message: answer.message })
        return answer
      } catch (error) {
        const { message } = error as Error
        const isWithdrawn = options.signal.aborted
        listeners.answered(question, isWithdrawn ? { result: 'withdrawn' } : { result: 'deny', message })
        if (error instanceof WithdrawnError) return { behavior: 'deny', message }
        throw error
      }
    })

/** The agent's hooks, and one that decides nothing. The CLI calls all of them at once, and decides when the last has answered. */
const withCalls = (hooks: Options['hooks'], listeners: CallbackListeners): NonNullable<Options['hooks']> => {
  const atWork = new Map<string, Set<Promise<unknown>>>()
  const watched =
    (hook: HookCallback): HookCallback =>
    (input, id, options) => {
      const answer = Promise.resolve(hook(input, id, options))
      if (input.hook_event_name !== 'PreToolUse') return answer
      const { tool_use_id: call } = input
      const siblings = atWork.get(call) ?? new Set()
      atWork.set(call, siblings.add(answer))
      const settled = (): void => {
        siblings.delete(answer)
        if (siblings.size === 0) atWork.delete(call)
      }
      answer.then(settled, settled)
      return answer
    }
  const tell: HookCallback = async (input) => {
    if (input.hook_event_name === 'PreToolUse') {
      const { tool_use_id: call } = input
      const others: readonly Promise<unknown>[] = [...(atWork.get(call) ?? [])]
      void Promise.allSettled(others).then(() => listeners.called(call))
    }
    return {}
  }
  const own = (hooks?.PreToolUse ?? []).map((matcher) => ({ ...matcher, hooks: matcher.hooks.map(watched) }))
  return { ...hooks, PreToolUse: [...own, { hooks: [tell] }] }
}

const elicitation =
  (onElicitation: PoolOnElicitation, context: WorkerContext, counted: Counted): OnElicitation =>
  (request, options) =>
    counted(() =>
      unlessWithdrawn(options.signal, () => onElicitation(request, { ...options, session: context.session })),
    )

const dialog =
  (onUserDialog: OnUserDialog, counted: Counted): OnUserDialog =>
  (request, options) =>
    counted(() => unlessWithdrawn(options.signal, () => onUserDialog(request, options)))
