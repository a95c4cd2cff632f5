import { createSdkMcpServer } from '@anthropic-ai/claude-agent-sdk'
import { describe, expect, test } from 'vitest'
import { readAgent } from '../../../src/agents/agent.ts'
import type { AgentOptions, WorkerContext } from '../../../src/agents/agent.ts'
import { sdkOptions } from '../../../src/agents/process-options.ts'
import type { CallbackListeners } from '../../../src/agents/process-options.ts'

const deaf: CallbackListeners = {
  permissionRequest: () => undefined,
  called: () => undefined,
  asked: () => undefined,
  answered: () => undefined,
  beforeTurn: () => undefined,
}

const optionsOf = (
  options: AgentOptions,
  context: Pick<WorkerContext, 'session'> = { session: undefined },
  permissionRequest: (change: 1 | -1) => void = () => undefined,
): ReturnType<typeof sdkOptions> =>
  sdkOptions(readAgent('support', options), context, { ...deaf, permissionRequest }, undefined)

const ALLOW = { behavior: 'allow', updatedInput: {} } as const
const asked = { signal: new AbortController().signal, toolUseID: 'tool-1', requestId: 'request-1' }

describe('in-process servers', () => {
  const tools = (): ReturnType<typeof createSdkMcpServer> => createSdkMcpServer({ name: 'tools', tools: [] })

  test('come from a function that is called once for each process, and knows whose', () => {
    const contexts: WorkerContext[] = []
    const mcpServers = (context: WorkerContext): Record<string, ReturnType<typeof tools>> => {
      contexts.push(context)
      return { tools: tools() }
    }
    const session = { tenant: 'default', key: 'k', agent: 'support' }
    const one = optionsOf({ mcpServers }, { session: undefined })
    const other = optionsOf({ mcpServers }, { session })
    expect(contexts.map((context) => context.session)).toEqual([undefined, session])
    expect(one.mcpServers?.['tools']).not.toBe(other.mcpServers?.['tools'])
  })

  test('may stand beside a plain mcpServers, whose names win', () => {
    const files = { type: 'stdio', command: 'files' } as const
    const own = tools()
    const inProcessServers = (): Record<string, ReturnType<typeof tools>> => ({ tools: own, files: tools() })
    expect(optionsOf({ mcpServers: { files }, inProcessServers }).mcpServers).toEqual({ tools: own, files })
  })

  test('of other processes are passed on as they are', () => {
    const mcpServers = { files: { type: 'stdio', command: 'files' } } as const
    expect(optionsOf({ mcpServers }).mcpServers).toEqual(mcpServers)
  })

  test('whose tools a client executes wait no longer than the agent does', async () => {
    const changes: number[] = []
    const told: unknown[] = []
    const contexts: WorkerContext[] = []
    const agent = readAgent('support', { mcpServers: (context) => (contexts.push(context), {}) })
    const listeners = { ...deaf, permissionRequest: (change: number) => changes.push(change) }
    sdkOptions(
      agent,
      { session: undefined },
      { ...listeners, answered: (_asked, answer) => told.push(answer) },
      undefined,
    )
    const withdrawn = new AbortController()
    const call = { toolUseId: 't', name: 'pay', input: {}, signal: withdrawn.signal }
    const waiting = contexts[0]?.awaitClient(call, () => new Promise(() => undefined))
    withdrawn.abort()
    await expect(waiting).rejects.toThrow('waits for the answer no more')
    expect([changes, told]).toEqual([[1, -1], [{ result: 'withdrawn' }]])
  })
})

describe('the options of a process', () => {
  test('are safe where the agent says nothing', () => {
    expect(optionsOf({})).toEqual({
      permissionMode: 'dontAsk',
      mcpServersDelivery: 'initialize',
      settingSources: [],
      strictMcpConfig: true,
      verbatimPrompts: true,
    })
  })

  test('are the agent’s where it says something, and hold nothing of the pool’s', () => {
    const options = optionsOf({
      model: 'm',
      permissionMode: 'plan',
      settingSources: ['project'],
      strictMcpConfig: false,
      cwd: '/work',
      env: { A: '1' },
      spares: { min: 1 },
      unboundSpares: { max: 0 },
      limits: { inactivityTimeout: '1m' },
      onStaleResume: 'fresh',
      onLargeTranscript: 'compact',
    })
    expect(options).toEqual({
      model: 'm',
      permissionMode: 'plan',
      settingSources: ['project'],
      strictMcpConfig: false,
      mcpServersDelivery: 'initialize',
      verbatimPrompts: true,
    })
  })

  test('name the binary that was found, unless the agent names its own', () => {
    const given = (options: AgentOptions): string | undefined =>
      sdkOptions(readAgent('support', options), { session: undefined }, deaf, '/found/claude')
        .pathToClaudeCodeExecutable
    expect(given({})).toBe('/found/claude')
    expect(given({ pathToClaudeCodeExecutable: '/own/claude' })).toBe('/own/claude')
  })

  test('ask for permission as soon as there is somebody to ask', () => {
    const canUseTool = async (): Promise<typeof ALLOW> => ALLOW
    expect(optionsOf({ canUseTool }).permissionMode).toBe('default')
    expect(optionsOf({ canUseTool, permissionMode: 'acceptEdits' }).permissionMode).toBe('acceptEdits')
  })
})

describe('canUseTool', () => {
  test('is told whose tool call it is, also when the spare became a session after its start', async () => {
    const context: { session: WorkerContext['session'] } = { session: undefined }
    const sessions: unknown[] = []
    const options = optionsOf(
      {
        async canUseTool(_tool, _input, { session, toolUseID }) {
          sessions.push([session?.key, toolUseID])
          return ALLOW
        },
      },
      context,
    )
    await options.canUseTool?.('Read', {}, asked)
    context.session = { tenant: 'default', key: 'conversation-42', agent: 'support' }
    await options.canUseTool?.('Read', {}, asked)
    expect(sessions).toEqual([
      [undefined, 'tool-1'],
      ['conversation-42', 'tool-1'],
    ])
  })

  test('counts as an open request for as long as it is open, also when it fails', async () => {
    let open = 0
    const changes: number[] = []
    const answer = Promise.withResolvers<typeof ALLOW>()
    const options = optionsOf({ canUseTool: () => answer.promise }, { session: undefined }, (change) => {
      changes.push((open += change))
    })
    const answered = options.canUseTool?.('Bash', {}, asked)
    expect(changes).toEqual([1])
    answer.reject(new Error('nobody there'))
    await expect(answered).rejects.toThrow('nobody there')
    expect(changes).toEqual([1, 0])
  })

  test('is over when the agent waits no more, whatever the host does', async () => {
    const changes: number[] = []
    const told: unknown[] = []
    const never = (): Promise<never> => new Promise(() => undefined)
    const agent = readAgent('support', { canUseTool: never, onElicitation: never, onUserDialog: never })
    const options = sdkOptions(
      agent,
      { session: undefined },
      {
        ...deaf,
        permissionRequest: (change) => changes.push(change),
        answered: (_question, answer) => told.push(answer),
      },
      undefined,
    )
    const withdrawn = new AbortController()
    const { signal } = withdrawn
    const waiting = [
      options.canUseTool?.('Bash', {}, { ...asked, signal }),
      options.onElicitation?.({ serverName: 's', message: 'm' }, { signal, requestId: 'r' }),
      options.onUserDialog?.({ dialogKind: 'd', payload: {} }, { signal, requestId: 'r' }),
    ]
    expect(changes).toEqual([1, 1, 1])
    withdrawn.abort()
    const [permission, ...others] = waiting
    const message = 'the agent was interrupted, and waits for the answer no more'
    expect(await permission).toEqual({ behavior: 'deny', message })
    for (const each of others) await expect(each).rejects.toThrow(message)
    expect(changes).toEqual([1, 1, 1, -1, -1, -1])
    expect(told).toEqual([{ result: 'withdrawn' }])
  })

  test('that throws at once counts for nothing afterwards', async () => {
    const changes: number[] = []
    const canUseTool = (): never => {
      throw new Error('broken')
    }
    const options = optionsOf({ canUseTool }, { session: undefined }, (change) => changes.push(change))
    await expect(options.canUseTool?.('Bash', {}, asked)).rejects.toThrow('broken')
    expect(changes).toEqual([1, -1])
  })

  test('is joined by other questions to people', async () => {
    const changes: number[] = []
    const options = optionsOf(
      { onElicitation: async () => ({ action: 'decline' }), onUserDialog: async () => ({ behavior: 'cancelled' }) },
      { session: undefined },
      (change) => changes.push(change),
    )
    await options.onElicitation?.({ serverName: 's', message: 'm' }, { signal: asked.signal, requestId: 'r' })
    await options.onUserDialog?.({ dialogKind: 'd', payload: {} }, { signal: asked.signal, requestId: 'r' })
    expect(changes).toEqual([1, -1, 1, -1])
  })
})
