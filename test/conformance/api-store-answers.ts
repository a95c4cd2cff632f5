import { expect, test } from 'vitest'
import type { AnswerStore, KeptAnswer, RequestName } from '../../src/store/api-store.ts'

const NAME: RequestName = { tenant: 't', method: 'POST', path: '/v1/agents', key: 'k' }
const ANSWER: KeptAnswer = { status: 200, contentType: 'application/json', body: '{"a":"ü"}' }
const HOUR_MS = 60 * 60_000
const FOR_EVER = { since: -HOUR_MS, max: 1_000 }

/** What every AnswerStore must do. */
export function answerStoreConformance(open: () => Promise<AnswerStore>): void {
  const begin = (
    answers: AnswerStore,
    name: Partial<RequestName> = {},
    bounds: Partial<typeof FOR_EVER> = {},
    at = 1,
  ) => answers.begin({ ...NAME, ...name, bodyHash: 'hash', at }, { ...FOR_EVER, ...bounds })

  test('a request is noted once, and its answer is found from then on', async () => {
    const answers = await open()
    expect(await begin(answers)).toBeUndefined()
    expect(await begin(answers)).toMatchObject({ bodyHash: 'hash', answer: undefined })
    await answers.finish(NAME, ANSWER, undefined)
    expect(await begin(answers)).toEqual({ bodyHash: 'hash', answer: ANSWER, isWorkedOn: false })
  })

  test('an answer may be kept without its body', async () => {
    const answers = await open()
    await begin(answers)
    await answers.finish(NAME, { ...ANSWER, body: undefined }, undefined)
    expect((await begin(answers))?.answer).toEqual({ ...ANSWER, body: undefined })
  })

  test.each([{ tenant: 'u' }, { method: 'PUT' }, { path: '/v1/environments' }, { key: 'l' }])(
    'a request that differs in its %j is another one',
    async (other) => {
      const answers = await open()
      await begin(answers)
      expect(await begin(answers, other)).toBeUndefined()
    },
  )

  test('what was forgotten is not known', async () => {
    const answers = await open()
    await begin(answers)
    await answers.forget(NAME)
    expect(await begin(answers)).toBeUndefined()
  })

  test('what is about a session goes with it, and with no other of its name', async () => {
    const answers = await open()
    for (const [index, session] of ['one', 'two', undefined].entries()) {
      await begin(answers, { key: String(index) })
      await answers.finish({ ...NAME, key: String(index) }, ANSWER, session)
    }
    await answers.forgetSession('u', 'one')
    expect(await begin(answers, { key: '0' })).toBeDefined()
    await answers.forgetSession('t', 'one')
    const left = await Promise.all(['0', '1', '2'].map((key) => begin(answers, { key })))
    expect(left.map((request) => request?.answer)).toEqual([undefined, ANSWER, ANSWER])
  })

  test('what is older than the bound is forgotten, whoever asks', async () => {
    const answers = await open()
    await begin(answers, {}, {}, 10)
    await begin(answers, { tenant: 'u' }, { since: 0 }, HOUR_MS)
    expect(await begin(answers, {}, { since: 0 }, HOUR_MS)).toBeDefined()
    // A store may measure the time by itself: not a moment is kept.
    await begin(answers, { tenant: 'u', key: 'later' }, { since: HOUR_MS }, HOUR_MS)
    expect(await begin(answers, {}, { since: 0 }, HOUR_MS)).toBeUndefined()
  })

  test('of a tenant as many are kept as it may have, the newest ones', async () => {
    const answers = await open()
    await begin(answers, { tenant: 'u' })
    for (const key of ['1', '2', '3', '4']) await begin(answers, { key }, { max: 3 })
    expect(await begin(answers, { tenant: 'u' }, { max: 3 })).toBeDefined()
    for (const key of ['2', '3', '4']) expect(await begin(answers, { key }, { max: 3 })).toBeDefined()
    expect(await begin(answers, { key: '1' }, { max: 3 })).toBeUndefined()
  })
}
