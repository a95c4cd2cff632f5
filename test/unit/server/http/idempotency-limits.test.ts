import { Hono } from 'hono'
import { expect, test, vi } from 'vitest'
import type { ServerEnv } from '../../../../src/server/context.ts'
import { toApiError } from '../../../../src/server/errors.ts'
import { Idempotency } from '../../../../src/server/http/idempotency.ts'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { FakeClock } from '../../../../src/testing/index.ts'

/** A server that counts the requests of one tenant and answers with so many letters of two bytes. */
function counting() {
  const clock = new FakeClock()
  const { answers } = new SqliteApiStore(':memory:')
  const warn = (message: string, cause: unknown): never => {
    throw new Error(message, { cause })
  }
  let done = 0
  const app = new Hono<ServerEnv>()
    .use((c, next) => {
      c.set('caller', { tenant: 'ada', name: 'ada' } as ServerEnv['Variables']['caller'])
      return next()
    })
    .use(new Idempotency({ clock, answers, warn }).handle)
    .onError((error) => Response.json({}, { status: toApiError(error).status }))
    .post('/:letters', (c) => {
      done += 1
      return c.text('ü'.repeat(Number(c.req.param('letters'))))
    })
  return {
    clock,
    answers,
    done: () => done,
    post: (key: string, letters = 1) =>
      app.request(`/${letters}`, { method: 'POST', headers: { 'idempotency-key': key } }),
  }
}

test('An answer of 64 KiB is kept, and one of more is not', async () => {
  const { post, done } = counting()
  const statuses = []
  for (const letters of [32_768, 32_768, 32_769, 32_769]) statuses.push((await post('one', letters)).status)
  expect(statuses).toEqual([200, 200, 200, 409])
  expect(done()).toBe(2)
})

test('Of a tenant the newest 10,000 keys are kept', async () => {
  const { post, done, answers, clock } = counting()
  await post('oldest')
  const at = Math.floor(clock.wall())
  for (let key = 0; key < 9_998; key += 1) {
    const name = { tenant: 'ada', method: 'POST', path: '/1', key: String(key) }
    await answers.begin({ ...name, bodyHash: '', at }, { since: 0, max: 100_000 })
  }
  await post('ten-thousandth')
  await post('oldest')
  expect(done()).toBe(2)
  await post('one-more')
  await post('oldest')
  expect(done()).toBe(4)
})

test('A request that another host works on is waited for for a minute; then it may be sent again later', async () => {
  const { post, done, answers, clock } = counting()
  const looks = vi.spyOn(answers, 'begin').mockResolvedValue({ bodyHash: '', answer: undefined, isWorkedOn: true })
  const answer = post('one')
  await clock.advance(59_000)
  expect(looks.mock.calls.length).toBeGreaterThan(500)
  await clock.advance(2_000)
  expect((await answer).status).toBe(409)
  expect(done()).toBe(0)
})
