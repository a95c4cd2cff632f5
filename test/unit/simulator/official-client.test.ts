import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Simulator, startSimulator } from '../../../src/simulator/server.ts'

describe('Anthropic’s own client', () => {
  let simulator: Simulator
  let client: Anthropic
  beforeAll(async () => {
    simulator = await startSimulator({ apiKey: 'key' })
    client = new Anthropic({ apiKey: 'key', baseURL: simulator.url, maxRetries: 0 })
  })
  afterAll(() => simulator.close())

  const ask = (content: string): Anthropic.MessageCreateParamsNonStreaming => ({
    model: 'claude-sonnet-5',
    max_tokens: 100,
    messages: [{ role: 'user', content }],
  })

  test('reads a whole answer', async () => {
    const message = await client.messages.create(ask('hi'))
    expect(message.content).toEqual([{ type: 'text', text: '[turn 1] You said: hi' }])
    expect(message.stop_reason).toBe('end_turn')
    expect(message._request_id).toMatch(/^req_sim_/)
  })

  test('puts a streamed answer together to the same message', async () => {
    const say = 'hi\n@sim thinking hm\n@sim tokens 4\n@sim tool Read {"file_path":"/x"}'
    const streamed = await client.messages.stream(ask(say)).finalMessage()
    const whole = await client.messages.create(ask(say))
    expect(streamed.content.map(({ type }) => type)).toEqual(['thinking', 'text', 'tool_use'])
    const comparable = ({ content, stop_reason, usage }: Anthropic.Message): unknown =>
      JSON.parse(
        JSON.stringify({ content, stop_reason, output: usage.output_tokens }).replaceAll(/toolu_sim_\w+/g, 'id'),
      )
    expect(comparable(streamed)).toEqual(comparable(whole))
  })

  test('tells the errors apart', async () => {
    await expect(client.messages.create(ask('@sim error 429'))).rejects.toThrow(Anthropic.RateLimitError)
    await expect(client.messages.create(ask('@sim error 529'))).rejects.toMatchObject({
      status: 529,
      type: 'overloaded_error',
    })
    await expect(client.messages.stream(ask('@sim tokens 2\n@sim error 529')).finalMessage()).rejects.toThrow(
      'overloaded_error',
    )
    const stranger = new Anthropic({ apiKey: 'other', baseURL: simulator.url, maxRetries: 0 })
    await expect(stranger.messages.create(ask('hi'))).rejects.toThrow(Anthropic.AuthenticationError)
  })

  test('counts tokens and lists models', async () => {
    const { input_tokens } = await client.messages.countTokens({ model: 'm', messages: ask('hi').messages })
    expect(input_tokens).toBeGreaterThan(5)
    expect((await client.models.list()).data.length).toBeGreaterThan(0)
  })
})
