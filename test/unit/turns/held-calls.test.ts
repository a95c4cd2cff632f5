import { describe, expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import type { AgentOptions } from '../../../src/index.ts'
import { NO_SPARES, fakes } from '../../fixtures/fakes.ts'

const calls = (...ids: string[]): SDKMessage =>
  ({
    type: 'assistant',
    parent_tool_use_id: null,
    message: {
      id: 'msg',
      content: ids.map((id) => ({ type: 'tool_use', id, name: 'Bash', input: { command: id } })),
      usage: { input_tokens: 1, output_tokens: 1 },
    },
  }) as unknown as SDKMessage

const result = (id: string): SDKMessage =>
  ({
    type: 'user',
    parent_tool_use_id: null,
    message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'done' }] },
  }) as unknown as SDKMessage

const denied = (id: string): SDKMessage =>
  ({ type: 'system', subtype: 'permission_denied', tool_use_id: id }) as unknown as SDKMessage

/** An agent that may ask, whose permissions the CLI decides. */
const ASKS: AgentOptions = { ...NO_SPARES, canUseTool: () => new Promise(() => undefined) }

/** A turn that runs, and what its session's events say of its calls and results. */
async function running(options: AgentOptions) {
  const { session, driver, clock } = await fakes({ agents: { assistant: options } })
  driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await session('k')
  const turn = s.send('hello')
  const process = await driver.process(0)
  await driver.until(() => process.prompts.length === 1)
  const told = async (): Promise<string[]> => {
    // What is gathered is written after 50 ms.
    await clock.advance(60)
    const events = await s.history({ limit: 100 })
    return events.flatMap(({ event }) => {
      if (event.type === 'agent.tool_use')
        return [`${String(event.input['command'])}: ${event.evaluated_permission ?? 'unknown'}`]
      return event.type === 'agent.tool_result' || event.type === 'session.status_idle' ? [event.type] : []
    })
  }
  const finish = async (): Promise<void> => {
    process.finish()
    await turn.result
  }
  return { process, clock, told, finish }
}

describe('A call whose permission the CLI decides is told when it', () => {
  test('runs: no question came within a second', async () => {
    const { process, clock, told, finish } = await running(ASKS)
    process.say(calls('one'))
    await clock.advance(930)
    expect(await told()).toEqual([])
    await clock.advance(10)
    expect(await told()).toEqual(['one: allow'])
    await finish()
  })

  test('runs, and not before its process has answered a question: it may be late with what it decided', async () => {
    const { process, clock, told, finish } = await running(ASKS)
    process.answersProbes = false
    process.say(calls('one'))
    await clock.advance(10_000)
    expect(await told()).toEqual([])
    void process.spec.options.canUseTool?.(
      'Bash',
      { command: 'one' },
      { signal: new AbortController().signal, toolUseID: 'one', requestId: 'r' },
    )
    expect(await told()).toEqual(['one: ask', 'session.status_idle'])
    await finish()
  })

  test('has run', async () => {
    const { process, told, finish } = await running(ASKS)
    process.say(calls('one'))
    process.say(result('one'))
    expect(await told()).toEqual(['one: allow', 'agent.tool_result'])
    await finish()
  })

  test('is refused', async () => {
    const { process, told, finish } = await running(ASKS)
    process.say(calls('one'))
    process.say(denied('one'))
    process.say(result('one'))
    expect(await told()).toEqual(['one: deny', 'agent.tool_result'])
    await finish()
  })

  test('is refused before its message is heard', async () => {
    const { process, told, finish } = await running(ASKS)
    process.say(denied('one'))
    process.say(calls('one'))
    expect(await told()).toEqual(['one: deny'])
    await finish()
  })

  test('never comes to be decided, because its turn ends', async () => {
    const { process, told, finish } = await running(ASKS)
    process.say(calls('one'))
    await finish()
    expect(await told()).toEqual(['one: unknown', 'session.status_idle'])
  })
})

test('Calls of an agent that nobody is asked about are told in the same way', async () => {
  const { process, clock, told, finish } = await running(NO_SPARES)
  process.say(calls('one', 'two'))
  process.say(denied('two'))
  expect(await told()).toEqual(['two: deny'])
  await clock.advance(1_000)
  expect(await told()).toEqual(['two: deny', 'one: allow'])
  await finish()
})

test.each([
  ['its own policy', { ...ASKS, evaluatedPermission: (name: string) => (name === 'Bash' ? 'ask' : 'allow') }, 'ask'],
  ['the mode that allows all', { ...NO_SPARES, permissionMode: 'bypassPermissions' }, 'allow'],
] as [string, AgentOptions, string][])(
  'A call is told at once where %s says what its permission is',
  async (_, options, said) => {
    const { process, told, finish } = await running(options)
    process.say(calls('one'))
    expect(await told()).toEqual([`one: ${said}`])
    await finish()
  },
)

test('A call that waits for its turn is not taken for allowed: the CLI has not come to it', async () => {
  const asked = Promise.withResolvers<{ behavior: 'allow' }>()
  const hold = Promise.withResolvers<object>()
  // The hook of the agent holds the CLI back at its first call.
  const hooks = { PreToolUse: [{ hooks: [() => hold.promise] }] }
  const { process, clock, told, finish } = await running({ ...NO_SPARES, hooks, canUseTool: () => asked.promise })
  process.say(calls('one', 'two'))
  await clock.advance(10_000)
  expect(await told()).toEqual([])
  hold.resolve({})
  const question = process.spec.options.canUseTool?.(
    'Bash',
    { command: 'two' },
    { signal: new AbortController().signal, toolUseID: 'two', requestId: 'r' },
  )
  await clock.advance(1_000)
  expect(await told()).toEqual(['two: ask', 'session.status_idle', 'one: allow'])
  asked.resolve({ behavior: 'allow' })
  await question
  await finish()
})
