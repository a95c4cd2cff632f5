import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { parseScenario, type Simulator, type SimulatorOptions, startSimulator } from '../../../src/simulator/server.ts'
import { ask, events, textOf } from './ask.ts'

async function start(options?: SimulatorOptions): Promise<Simulator> {
  const simulator = await startSimulator(options)
  onTestFinished(() => simulator.close())
  return simulator
}

const post = (simulator: Simulator, path: string, body: string | ReadableStream): Promise<Response> =>
  fetch(simulator.url + path, { method: 'POST', body, duplex: 'half' } as RequestInit)

const conversation = (prompt: string, ...results: readonly string[]): { role: string; content: never }[] =>
  [
    { role: 'user', content: prompt },
    ...results.flatMap((content, at) => [
      { role: 'assistant', content: [{ type: 'tool_use', id: `t${at}`, name: 'Bash', input: {} }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: `t${at}`, content }] },
    ]),
  ] as { role: string; content: never }[]

describe('A streamed answer', () => {
  test('has the events of the API in their order, and its usage', async () => {
    const response = await ask(await start(), { say: 'hello' })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    expect(response.headers.get('request-id')).toMatch(/^req_sim_/)
    const all = await events(response)
    expect(all.map(({ type }) => type)).toEqual([
      'message_start',
      'ping',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(all.every(({ type, data }) => data.type === type)).toBe(true)
    expect(all.at(3)?.data).toMatchObject({ index: 0, delta: { type: 'text_delta', text: '[turn 1] You said: hello' } })
    expect(all.at(5)?.data).toMatchObject({ delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 6 } })
    expect(all.at(0)?.data).toMatchObject({ message: { usage: { input_tokens: 26, cache_read_input_tokens: 0 } } })
  })

  test('sends tokens one by one, the first with the turn', async () => {
    const all = await events(await ask(await start(), { say: '@sim tokens 5 pace 1' }))
    const deltas = all.filter(({ type }) => type === 'content_block_delta')
    expect(deltas).toHaveLength(5)
    expect(deltas[0]?.data).toMatchObject({ delta: { text: '[turn 1]' } })
    expect(all.at(-2)?.data).toMatchObject({ usage: { output_tokens: 5 } })
  })

  test('thinks before it speaks', async () => {
    const all = await events(await ask(await start(), { say: 'hm\n@sim thinking deeply' }))
    const started = all.filter(({ type }) => type === 'content_block_start')
    expect(started.map(({ data }) => data.content_block?.type)).toEqual(['thinking', 'text'])
    expect(JSON.stringify(all)).toContain('"signature_delta"')
  })

  test('pings while it waits for the first token', async () => {
    const all = await events(await ask(await start({ pingMs: 10 }), { say: '@sim delay 35' }))
    const first = all.findIndex(({ type }) => type === 'content_block_start')
    expect(all.slice(0, first).filter(({ type }) => type === 'ping')).toHaveLength(4)
  })

  test('calls a tool, and goes on with the next step when its result comes back', async () => {
    const simulator = await start()
    const prompt = 'go\n@sim bash ls\n@sim tool Read {"file_path":"/x"}\n@sim say done'
    const first = await events(await ask(simulator, { say: conversation(prompt) }))
    expect(first.at(-2)?.data).toMatchObject({ delta: { stop_reason: 'tool_use' } })
    expect(JSON.stringify(first)).toContain('\\"command\\":\\"ls\\"')
    const second = await events(await ask(simulator, { say: conversation(prompt, 'a') }))
    expect(second[2]?.data).toMatchObject({ content_block: { type: 'tool_use', name: 'Read', input: {} } })
    expect(await textOf(simulator, conversation(prompt, 'a', 'b'))).toBe('done')
  })

  test('shows what the tools said when no step has words', async () => {
    const simulator = await start()
    expect(await textOf(simulator, conversation('@sim bash ls', 'a\nb'))).toBe('[turn 1] tool said: a\nb')
    const two = conversation('look\n@sim bash ls\n@sim bash ls', 'a', 'b')
    expect(await textOf(simulator, two)).toBe('[turn 1] You said: look\ntool said: a\ntool said: b')
  })

  test('says what it cannot understand', async () => {
    expect(await textOf(await start(), '@sim dance')).toMatch(/^\[sim\] unknown directive "dance"; known: delay/)
  })
})

describe('An answer without stream', () => {
  test('is one message', async () => {
    const say = '@sim delay 1\n@sim thinking hm\n@sim say hi\n@sim bash ls'
    const response = await ask(await start(), { stream: false, say })
    expect(await response.json()).toMatchObject({
      type: 'message',
      role: 'assistant',
      model: 'claude-test',
      content: [
        { type: 'thinking', thinking: 'hm' },
        { type: 'text', text: 'hi' },
        { type: 'tool_use', name: 'Bash', input: { command: 'ls' } },
      ],
      stop_reason: 'tool_use',
    })
  })
})

describe('A fault', () => {
  test.each([400, 401, 429, 500, 529])('of status %i has the shape of the API', async (status) => {
    const response = await ask(await start(), { say: `@sim error ${status}` })
    expect(response.status).toBe(status)
    expect(response.headers.get('retry-after')).toBe(status === 429 ? '1' : null)
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { message: `simulated error ${status}` },
      request_id: response.headers.get('request-id'),
    })
  })

  test('strikes as often as it was told, for each prompt of each session', async () => {
    const simulator = await start()
    const statuses = async (say: string, id: string): Promise<number[]> => {
      const headers = { 'x-claude-code-session-id': id }
      const all = []
      for (let at = 0; at < 3; at += 1) all.push((await ask(simulator, { say, headers })).status)
      return all
    }
    expect(await statuses('@sim error 529 times 2', 'a')).toEqual([529, 529, 200])
    expect(await statuses('@sim error 529 times 2', 'b')).toEqual([529, 529, 200])
    expect(await statuses('again\n@sim error 529 times 2', 'a')).toEqual([529, 529, 200])
  })

  test('may come in the middle of a stream', async () => {
    const all = await events(await ask(await start(), { say: '@sim tokens 2\n@sim error 529' }))
    expect(all.at(-1)).toMatchObject({ type: 'error', data: { error: { type: 'overloaded_error' } } })
  })

  test('cuts the stream half-way', async () => {
    const simulator = await start()
    const response = await ask(simulator, { say: 'hello\n@sim cut' })
    const chunks: string[] = []
    const read = async (): Promise<void> => {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>)
        chunks.push(Buffer.from(chunk).toString())
    }
    await expect(read()).rejects.toThrow('terminated')
    expect(chunks.join('')).toContain('[turn 1] You')
    expect(chunks.join('')).not.toContain('message_stop')
    await vi.waitFor(() => expect(simulator.requests[0]).toMatchObject({ status: 200, outcome: 'cut' }))
    await expect(ask(simulator, { say: '@sim cut', stream: false })).rejects.toThrow('fetch failed')
  })

  test.each([true, false])('stays silent until the client leaves (stream: %s)', async (stream) => {
    const simulator = await start()
    const client = new AbortController()
    const response = await ask(simulator, { say: '@sim silence', stream, signal: client.signal })
    expect(response.status).toBe(200)
    expect(simulator.open).toBe(1)
    client.abort()
    await expect(response.text()).rejects.toThrow('aborted')
    await vi.waitFor(() => expect(simulator.open).toBe(0))
    expect(simulator.requests[0]?.outcome).toBe('left')
  })
})

describe('A large answer', () => {
  test('has the size that was asked for', async () => {
    expect(await textOf(await start(), '@sim text 100KiB chunk 7KiB')).toHaveLength(102_400)
  })

  test('waits for a client that does not read, and ends when it leaves', async () => {
    const simulator = await start()
    const body = JSON.stringify({
      model: 'm',
      stream: true,
      messages: [{ role: 'user', content: '@sim text 256MiB chunk 1MiB' }],
    })
    const socket = connect(simulator.port, '127.0.0.1')
    socket.pause()
    socket.write(`POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    await once(socket, 'readable')
    const before = process.memoryUsage().external
    await vi.waitFor(() => expect(simulator.requests[0]?.turn).toBe(1))
    expect(process.memoryUsage().external - before).toBeLessThan(64 * 1024 * 1024)
    expect(simulator.open).toBe(1)
    socket.destroy()
    await vi.waitFor(() => expect(simulator.open).toBe(0))
  })
})

describe('A request', () => {
  test('that is not the model’s is answered like the API does', async () => {
    const simulator = await start()
    const models = await fetch(`${simulator.url}/v1/models?limit=5`)
    expect(await models.json()).toMatchObject({ data: [{ type: 'model' }, { type: 'model' }] })
    const count = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x'.repeat(400) }] })
    expect(await (await post(simulator, '/v1/messages/count_tokens?beta=true', count)).json()).toEqual({
      input_tokens: Math.ceil(count.length / 4),
    })
    const missing = await fetch(`${simulator.url}/v1/files`)
    expect(missing.status).toBe(404)
    expect(await missing.json()).toMatchObject({ type: 'error', error: { type: 'not_found_error' } })
  })

  test.each([
    ['{', 'not valid JSON'],
    ['[]', 'model: Field required'],
    ['null', 'must be a JSON object'],
    ['{"model":"m"}', 'messages: Field required'],
    ['{"model":"m","messages":[]}', 'at least one message'],
    ['{"model":"m","messages":[{"role":"user","content":[{}]}]}', 'messages.0: role and content'],
  ])('with the body %s is refused', async (body, problem) => {
    const response = await post(await start(), '/v1/messages', body)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      error: { type: 'invalid_request_error', message: expect.stringContaining(problem) },
    })
  })

  test('with more than 32 MB is refused, whether it says its size or not', async () => {
    const simulator = await start()
    const large = 'x'.repeat(33 * 1024 * 1024)
    const chunks = new ReadableStream({
      start(controller) {
        for (let at = 0; at < 33; at += 1) controller.enqueue(new Uint8Array(1024 * 1024))
        controller.close()
      },
    })
    for (const body of [large, chunks]) {
      const response = await post(simulator, '/v1/messages', body)
      expect(response.status).toBe(413)
      expect(await response.json()).toMatchObject({ error: { type: 'request_too_large' } })
    }
  })

  test('with another key is refused where one is set', async () => {
    const simulator = await start({ apiKey: 'right' })
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await ask(simulator, { say: 'x', headers })).status
    expect(await status({ 'x-api-key': 'wrong' })).toBe(401)
    expect(await status({})).toBe(401)
    expect(await status({ 'x-api-key': 'right' })).toBe(200)
    expect(await status({ authorization: 'Bearer right' })).toBe(200)
  })

  test('is recorded, the newest ones', async () => {
    const simulator = await start({ recordLimit: 2 })
    for (const say of ['one', 'two', 'three']) await textOf(simulator, say)
    expect(simulator.requests.map(({ prompt }) => prompt)).toEqual(['two', 'three'])
    expect(simulator.requests[1]).toMatchObject({
      method: 'POST',
      path: '/v1/messages?beta=true',
      turn: 1,
      status: 200,
    })
    expect(simulator.requests[1]?.body).toMatchObject({ model: 'claude-test' })
    await vi.waitFor(() => expect(simulator.requests[1]?.outcome).toBe('answered'))
  })
})

test.each([
  [{ port: 70_000 }, 'port'],
  [{ recordLimit: -1 }, 'recordLimit'],
  [{ pingMs: 0 }, 'pingMs'],
  [{ apiKey: '' }, 'apiKey'],
  [{ scenario: 'load.yaml' }, 'scenario'],
  [{ prot: 1 }, 'prot'],
])('The options %j are refused by name', async (options, path) => {
  const refused = startSimulator(options as SimulatorOptions)
  await expect(refused).rejects.toThrow(ConfigError)
  await expect(refused).rejects.toMatchObject({ path })
})

describe('A simulator', () => {
  test('answers plain prompts by its scenario, and others by their directives', async () => {
    const scenario = parseScenario({ rules: [{ match: 'hi', steps: ['say from the scenario'] }] })
    const simulator = await start({ scenario })
    expect(await textOf(simulator, 'hi')).toBe('from the scenario')
    expect(await textOf(simulator, 'hi\n@sim say mine')).toBe('mine')
    expect(await textOf(simulator, 'other')).toBe('[turn 1] You said: other')
  })

  test('ends open answers when it closes, and closes once', async () => {
    const simulator = await startSimulator()
    const silent = await ask(simulator, { say: '@sim silence' })
    const slow = await ask(simulator, { say: '@sim delay 80000000' })
    const closed = simulator.close()
    expect(simulator.close()).toBe(closed)
    await closed
    await simulator[Symbol.asyncDispose]()
    await expect(silent.text()).rejects.toThrow('terminated')
    await expect(slow.text()).rejects.toThrow('terminated')
    expect(simulator.open).toBe(0)
    expect(simulator.requests.map(({ outcome }) => outcome)).toEqual(['closed', 'closed'])
    await expect(ask(simulator, { say: 'x' })).rejects.toThrow('fetch failed')
  })

  test('says which port is taken', async () => {
    const { port } = await start()
    await expect(startSimulator({ port })).rejects.toThrow(`port: ${port} is in use on 127.0.0.1`)
  })

  test('listens on loopback only', async () => {
    const host = '0.0.0.0' as '127.0.0.1'
    await expect(startSimulator({ host })).rejects.toThrow('listens on loopback only: 127.0.0.1, ::1, localhost')
    const { url } = await start({ host: 'localhost' })
    expect(url).toMatch(/^http:\/\/localhost:\d+$/)
  })
})
