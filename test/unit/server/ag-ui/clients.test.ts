import { describe, expect, test } from 'vitest'
import type { ClientVersion, FrontEnd } from '../../../fixtures/ag-ui.ts'
import { frontEnd, manual, messageStart, piece, prompted, toolResult, whole } from '../../../fixtures/ag-ui-fakes.ts'
import { CALL, WEATHER, call, tooled } from '../../../fixtures/ag-ui-tools.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'
import type { FakeProcess } from '../../../../src/testing/index.ts'

const clients: [string, ClientVersion][] = [
  ['of AG-UI 1.0', '1'],
  ['of before, as CopilotKit has it,', '0'],
]

describe.each(clients)('the official client %s', (_what, version) => {
  const client = (all: ServedFakes): FrontEnd => frontEnd(all, 'thread', {}, version)

  /** A run that was stopped in the middle of its answer, and has been interrupted since. */
  async function stopped(all: ServedFakes): Promise<{ front: FrontEnd; process: FakeProcess }> {
    const front = client(all).say('go')
    const seen = Promise.withResolvers<void>()
    const running = front.run({}, ({ type }) => type === 'TEXT_MESSAGE_CONTENT' && seen.resolve())
    const process = await prompted(all)
    process.say(messageStart('m1'))
    process.say(piece({ type: 'content_block_start', index: 0, content_block: { type: 'text' } }))
    process.say(piece({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Once ' } }))
    await seen.promise
    front.agent.abortRun()
    await running.catch(() => undefined)
    await all.clock.settle()
    return { front, process }
  }

  test('talks, and has the conversation when it comes back with nothing', async () => {
    const all = await served()
    const front = client(all)
    await front.say('one').run()
    await front.say('two').run()
    const fresh = client(all)
    await fresh.run()
    expect(fresh.conversation).toEqual([
      'user one',
      'assistant [turn 1] You said: one',
      'user two',
      'assistant [turn 2] You said: two',
    ])
    const late = client(all).say('three')
    await late.run()
    expect(late.conversation).toEqual([...fresh.conversation, 'user three', 'assistant [turn 3] You said: three'])
  })

  test('re-attaches to the turn of a run that it has stopped, and shows all of it once', async () => {
    const all = await manual()
    const { front, process } = await stopped(all)
    const back = front.run()
    process.say(piece({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'upon' } }))
    process.say(whole('m1', { type: 'text', text: 'Once upon' }))
    process.say(piece({ type: 'content_block_stop', index: 0 }))
    process.finish()
    await back
    expect(front.conversation).toEqual(['user go', 'assistant Once upon'])
  })

  test('is told that a message which it sends again was interrupted', async () => {
    const all = await manual()
    const { front } = await stopped(all)
    await all.clock.advance(5_000)
    const again = await front.run()
    if (version === '1') expect(again.events.at(-1)).toMatchObject({ outcome: { type: 'cancelled' } })
    else expect(again.error).toMatchObject({ code: 'cancelled' })
    expect(front.conversation).toEqual(['user go', 'assistant Once '])
  })

  test('executes a tool of its own', async () => {
    const all = await tooled()
    const front = client(all).say('go')
    const running = front.run({ tools: [WEATHER] })
    const process = await prompted(all)
    process.say(whole('m1', CALL))
    const result = call(await all.mcp, 'call1')
    expect((await running).pending).toEqual(['call1'])
    front.agent.addMessage({ id: 'r', role: 'tool', toolCallId: 'call1', content: 'sunny' })
    const second = front.run({ tools: [WEATHER] })
    await result
    process.say(toolResult('call1', 'sunny'))
    process.say(whole('m2', { type: 'text', text: 'It is sunny.' }))
    process.finish()
    expect((await second).pending).toEqual([])
    expect(front.conversation).toEqual([
      'user go',
      'assistant weather({"city":"Rome"})',
      'tool sunny',
      'assistant It is sunny.',
    ])
  })
})
