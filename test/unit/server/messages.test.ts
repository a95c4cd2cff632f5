import { describe, expect, test } from 'vitest'
import { assistantMessage } from '../../../src/testing/index.ts'
import { Frames, served } from '../../fixtures/server.ts'

const typesOf = (frames: { event: string; data: unknown }[]): string[] =>
  frames.map(({ event, data }) => (event === 'message' ? (data as { type: string }).type : event))

const errorOf = async (response: Response): Promise<{ type: string; message: string }> =>
  ((await response.json()) as { error: { type: string; message: string } }).error

test('a prompt is answered with the messages of its turn, then done', async () => {
  const { ask } = await served()
  const response = await ask('POST', '/sessions/s1/messages', { body: { prompt: 'hello' } })
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  const frames = await new Frames(response).rest()
  expect(typesOf(frames)).toEqual(['assistant', 'result', 'done'])
})

test('the same id goes on with the same session', async () => {
  const { ask, pool } = await served()
  for (const prompt of ['one', 'two'])
    await new Frames(await ask('POST', '/sessions/s1/messages', { body: { prompt } })).rest()
  expect(await pool.sessions()).toMatchObject([{ key: 's1', turns: 2, agent: 'assistant' }])
})

test('pieces of messages come only where they are asked for', async () => {
  const { ask, driver } = await served()
  driver.onStart = (process) => (process.answersAtOnce = false)
  const answers = await Promise.all(
    ['/sessions/a/messages', '/sessions/b/messages?partial=true'].map(async (path, index) => {
      const answer = ask('POST', path, { body: { prompt: 'hello' } })
      const process = await driver.process(index)
      await driver.until(() => process.unanswered === 1)
      process.say({ ...assistantMessage('x', ''), type: 'stream_event', event: {} } as never)
      process.finish()
      return typesOf(await new Frames(await answer).rest())
    }),
  )
  expect(answers).toEqual([
    ['result', 'done'],
    ['stream_event', 'result', 'done'],
  ])
})

/** A server with a turn in session `a`, whose process does what the test says. */
async function working(...options: Parameters<typeof served>) {
  const all = await served(...options)
  all.driver.onStart = (process) => (process.answersAtOnce = false)
  const answer = all.ask('POST', '/sessions/a/messages', { body: { prompt: 'one' } })
  const process = await all.driver.process(0)
  await all.driver.until(() => process.unanswered === 1)
  return { ...all, process, answer }
}

describe('what is not a prompt is refused', () => {
  test.each([
    ['an id that begins with a dash', '/sessions/-a/messages', '{"prompt":"x"}', 400],
    ['an id that is an option', '/sessions/--resume/messages', '{"prompt":"x"}', 400],
    ['an id that is a path', '/sessions/..%2F..%2Fother/messages', '{"prompt":"x"}', 400],
    ['an id that is a path on Windows', '/sessions/..%5Cother/messages', '{"prompt":"x"}', 400],
    ['an id with a line feed', '/sessions/a%0Alevel/messages', '{"prompt":"x"}', 400],
    ['an id with a NUL', '/sessions/a%00b/messages', '{"prompt":"x"}', 400],
    ['an id that is a key of every object', '/sessions/__proto__/messages', '{"prompt":"x"}', 400],
    ['an id that is too long', `/sessions/${'a'.repeat(65)}/messages`, '{"prompt":"x"}', 400],
    ['no JSON', '/sessions/a/messages', 'prompt=x', 400],
    ['no prompt', '/sessions/a/messages', '{}', 400],
    ['an empty prompt', '/sessions/a/messages', '{"prompt":""}', 400],
    ['an unknown agent', '/sessions/a/messages?agent=nobody', '{"prompt":"x"}', 400],
    ['more than 256 KiB', '/sessions/a/messages', JSON.stringify({ prompt: 'x'.repeat(256 * 1024) }), 413],
  ])('%s', async (_what, path, body, status) => {
    const { ask, pool } = await served()
    const response = await ask('POST', path, { body })
    expect(response.status).toBe(status)
    expect((await errorOf(response)).type).toBe(status === 413 ? 'request_too_large' : 'invalid_request_error')
    expect(await pool.sessions()).toEqual([])
  })
})

test('a turn for which there is no room is a 429 that says when to come back', async () => {
  const { ask, process, answer } = await working({}, { limits: { turns: 1 } })
  const refused = await ask('POST', '/sessions/b/messages', { body: { prompt: 'two' } })
  expect(refused.status).toBe(429)
  expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThan(0)
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect((await errorOf(refused)).type).toBe('rate_limit_error')
  process.finish()
  await new Frames(await answer).rest()
})

test('a session that runs a turn refuses another one and keeps the first to come back to', async () => {
  const { ask, process, answer } = await working()
  const refused = await ask('POST', '/sessions/a/messages', { body: { prompt: 'two' } })
  expect(refused.status).toBe(409)
  expect(refused.headers.get('x-should-retry')).toBe('false')
  const again = ask('GET', '/sessions/a/messages')
  process.finish()
  expect(typesOf(await new Frames(await again).rest())).toEqual(['result', 'done'])
  await new Frames(await answer).rest()
})

test('a turn that fails in the middle ends its stream with what happened, and no secrets of the process', async () => {
  const { process, answer } = await working()
  process.sayText('partly')
  const frames = new Frames(await answer)
  expect((await frames.next())?.event).toBe('message')
  process.exit({ signal: 'SIGKILL', stderr: 'token=hunter2' })
  const [error, ...rest] = await frames.rest()
  expect(error?.event).toBe('error')
  expect(JSON.stringify(error?.data)).toContain('ended during the turn')
  expect(JSON.stringify(error?.data)).not.toContain('hunter2')
  expect(rest).toEqual([])
})

test('a draining pool answers 529', async () => {
  const { ask, pool, server } = await served()
  server.state = 'draining'
  await pool.drain()
  const response = await ask('POST', '/sessions/a/messages', { body: { prompt: 'x' } })
  expect(response.status).toBe(529)
  const { type, message } = await errorOf(response)
  expect(type).toBe('overloaded_error')
  expect(message).toContain('try again at another server')
})

describe('a client that goes away', () => {
  test('leaves its turn running, and finds it again where it left', async () => {
    const { ask, told, process, answer } = await working()
    process.sayText('first')
    const frames = new Frames(await answer)
    const first = await frames.next()
    await frames.leave()
    expect(process.interrupts).toBe(0)
    process.sayText('second')
    const back = await ask('GET', '/sessions/a/messages', { headers: { 'last-event-id': first?.id ?? '' } })
    process.finish()
    expect(typesOf(await new Frames(back).rest())).toEqual(['assistant', 'result', 'done'])
    expect(told('turn.ended')).toMatchObject([{ outcome: 'success' }])
  })

  test('interrupts its turn where the server is told so', async () => {
    const { driver, process, answer } = await working({ onDisconnect: 'interrupt' })
    process.sayText('first')
    const frames = new Frames(await answer)
    await frames.next()
    await frames.leave()
    await driver.until(() => process.interrupts === 1)
  })

  test('finds the end of its turn for a minute, and then nothing', async () => {
    const { ask, clock } = await served()
    await new Frames(await ask('POST', '/sessions/a/messages', { body: { prompt: 'one' } })).rest()
    expect(typesOf(await new Frames(await ask('GET', '/sessions/a/messages')).rest())).toEqual([
      'assistant',
      'result',
      'done',
    ])
    await clock.advance(60_000)
    expect((await ask('GET', '/sessions/a/messages')).status).toBe(204)
    expect((await ask('GET', '/sessions/unknown/messages')).status).toBe(404)
  })
})
