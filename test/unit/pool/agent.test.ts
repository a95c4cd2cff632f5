import { createSdkMcpServer } from '@anthropic-ai/claude-agent-sdk'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { readAgent, sdkOptions } from '../../../src/pool/agent.ts'
import type { AgentOptions, CallbackListeners, WorkerContext } from '../../../src/pool/agent.ts'

const loose = (options: unknown): AgentOptions => options as AgentOptions

const read = (options: unknown = {}): ReturnType<typeof readAgent> => readAgent('support', loose(options))

const deaf: CallbackListeners = {
  permissionRequest: () => undefined,
  asked: () => undefined,
  answered: () => undefined,
}

const optionsOf = (
  options: AgentOptions,
  context: Pick<WorkerContext, 'session'> = { session: undefined },
  permissionRequest: (change: 1 | -1) => void = () => undefined,
): ReturnType<typeof sdkOptions> => sdkOptions(read(options), context, { ...deaf, permissionRequest }, undefined)

const ALLOW = { behavior: 'allow', updatedInput: {} } as const
const asked = { signal: new AbortController().signal, toolUseID: 'tool-1', requestId: 'request-1' }

describe('the name of an agent', () => {
  test.each(['support', 'a', '0', 'Claude.v2_x-1', 'a'.repeat(64)])('may be %j', (name) => {
    expect(readAgent(name, {}).name).toBe(name)
  })

  test.each(['', ' ', '-a', '.a', '_a', 'a b', 'a/b', '../a', 'ä', 'a'.repeat(65), 'a\n'])('may not be %j', (name) => {
    expect(() => readAgent(name, {})).toThrow(ConfigError)
  })
})

describe('an option', () => {
  test.each(['resume', 'sessionId', 'continue', 'abortController', 'spawnClaudeCodeProcess', 'forkSession', 'stderr'])(
    '%s is the pool’s own',
    (key) => {
      expect(() => read({ [key]: 'x' })).toThrow(`agents.support.${key}: is set by the pool itself; leave it out`)
    },
  )

  test.each([
    ['systemprompt', 'systemPrompt'],
    ['systemPromt', 'systemPrompt'],
    ['permissionmode', 'permissionMode'],
    ['tool', 'tools'],
    ['mcpServer', 'mcpServers'],
    ['spare', 'spares'],
    ['allowedtool', 'allowedTools'],
  ])('%s is unknown, and %s is what was meant', (key, meant) => {
    expect(() => read({ [key]: 'x' })).toThrow(
      `agents.support.${key}: is not an option of an agent; did you mean ${meant}?`,
    )
  })

  test('that is like nothing else gets no suggestion', () => {
    expect(() => read({ temperature: 1 })).toThrow(/^agents\.support\.temperature: is not an option of an agent$/)
  })

  test.each([undefined, null, 'support', 7])('list that is %j is refused', (options) => {
    expect(() => readAgent('support', loose(options))).toThrow('agents.support: is not an object of options')
  })

  test.each(['CLAUDE_CONFIG_DIR', 'CLAUDECODE', 'CLAUDE_AGENT_POOL_MARKER'])('env may not set %s', (variable) => {
    expect(() => read({ env: { [variable]: 'x' } })).toThrow(
      `agents.support.env.${variable}: is set by the pool itself`,
    )
  })

  test('onLargeTranscript has two values', () => {
    expect(read({ onLargeTranscript: 'compact' }).onLargeTranscript).toBe('compact')
    expect(read().onLargeTranscript).toBe('refuse')
    expect(() => read({ onLargeTranscript: 'shrink' as 'compact' })).toThrow(
      'agents.support.onLargeTranscript: "shrink" is not one of: refuse, compact',
    )
  })

  test('onStaleResume has two values', () => {
    expect(read({ onStaleResume: 'fresh' }).onStaleResume).toBe('fresh')
    expect(read().onStaleResume).toBe('error')
    expect(() => read({ onStaleResume: 'Fresh' })).toThrow(
      'agents.support.onStaleResume: "Fresh" is not one of: error, fresh',
    )
  })

  test('limits are those of turns, and their problems are named in full', () => {
    expect(read({ limits: { silence: '1m' } }).limits).toEqual({ silenceMs: 60_000 })
    expect(read({ limits: { turnTimeMs: 5 } }).limits).toEqual({ turnTimeMs: 5 })
    expect(read({ limits: {} }).limits).toEqual({})
    expect(() => read({ limits: { silence: '1' } })).toThrow('agents.support.limits.silence: "1" is not a number with')
    expect(() => read({ limits: { memory: '1GiB' } })).toThrow('agents.support.limits.memory: is not an option')
  })

  test('of the caller’s is not changed afterwards by changing the object', () => {
    const options: AgentOptions = { model: 'a' }
    const agent = readAgent('support', options)
    options.model = 'b'
    expect(agent.options.model).toBe('a')
  })
})

describe('in-process servers', () => {
  const tools = (): ReturnType<typeof createSdkMcpServer> => createSdkMcpServer({ name: 'tools', tools: [] })

  test('are refused as objects, since each process needs its own', () => {
    expect(() => read({ mcpServers: { tools: tools() } })).toThrow(
      'agents.support.mcpServers.tools: is an in-process server, of which each process needs its own; make it in a function',
    )
  })

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

  test('may be objects where one process has the agent for itself, which then has no spares', () => {
    const agent = readAgent('query-1', { mcpServers: { tools: tools() } }, { ownProcess: true })
    expect(agent.spares).toEqual({ min: 0, max: 0 })
    expect(agent.claimableSpares).toEqual({ min: 0, max: 0 })
  })

  test('of other processes are passed on as they are', () => {
    const mcpServers = { files: { type: 'stdio', command: 'files' } } as const
    expect(optionsOf({ mcpServers }).mcpServers).toEqual(mcpServers)
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
      claimableSpares: { max: 0 },
      limits: { silence: '1m' },
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
      sdkOptions(read(options), { session: undefined }, deaf, '/found/claude').pathToClaudeCodeExecutable
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
