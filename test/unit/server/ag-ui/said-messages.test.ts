import { expect, test } from 'vitest'
import type { Session } from '../../../../src/index.ts'
import { SaidMessages } from '../../../../src/server/ag-ui/said-messages.ts'

/** A session with this many prompts, each an event with an even number. */
const sessionOf = (prompts: number): Session =>
  ({
    history: async ({ before = Infinity, limit }: { before?: number; limit: number }) =>
      Array.from({ length: prompts }, (_, index) => (prompts - index) * 2)
        .filter((number) => number < before)
        .slice(0, limit)
        .map((number) => ({
          number,
          event: { type: 'user.message', id: `prompt-${number}`, content: [{ type: 'text', text: `${number}` }] },
        })),
  }) as unknown as Session

const user = (number: number) => ({ id: `prompt-${number}`, role: 'user' as const, content: `${number}` })

test('A session knows its messages of before from all pages of its events, and of many the newest', async () => {
  const some = new SaidMessages(sessionOf(250))
  await some.ready()
  expect([2, 200, 500].map((number) => some.numberOf(user(number)))).toEqual([2, 200, 500])
  const many = new SaidMessages(sessionOf(900))
  await many.ready()
  expect([1_800, 1_202, 1_200].map((number) => many.numberOf(user(number)))).toEqual([1_800, 1_202, undefined])
})

/** The fate of the prompt of event 1, after which these events came. */
async function fateAfter(events: readonly object[], mark: object = {}): Promise<unknown> {
  const text = [{ type: 'text' as const, text: 'hi' }]
  const prompt = {
    type: 'user.message',
    id: 'e',
    content: text,
    metadata: { ag_ui: { messages: [{ id: 'm', blocks: 1 }], ...mark } },
  }
  const all = events.map((event, index) => ({ number: index + 2, event }))
  const session = {
    history: ({ after, limit }: { after?: number; limit: number }) => {
      if (after === undefined) return Promise.resolve([{ number: 1, event: prompt }])
      return Promise.resolve(all.filter(({ number }) => number > after).slice(0, limit))
    },
  } as unknown as Session
  const said = new SaidMessages(session)
  await said.ready()
  return said.fateOf({ id: 'm', role: 'user', content: 'hi' })
}

const RUNNING = { type: 'session.status_running' }
const ANSWER = { type: 'agent.message' }
const INTERRUPT = { type: 'user.interrupt' }
const idle = (type: string): object => ({ type: 'session.status_idle', stop_reason: { type } })
const DONE = idle('end_turn')

test.each<[string, object[], object | undefined, string]>([
  ['is answered', [RUNNING, ANSWER, DONE], undefined, 'done'],
  ['is refused by the model', [RUNNING, ANSWER, idle('refusal')], undefined, 'done'],
  ['ends without an answer', [RUNNING, DONE], undefined, 'failed'],
  ['ends in an error', [RUNNING, ANSWER, idle('retries_exhausted')], undefined, 'failed'],
  ['is interrupted', [RUNNING, ANSWER, INTERRUPT, DONE], undefined, 'interrupted'],
  ['is interrupted before it begins', [DONE], undefined, 'interrupted'],
  ['fails before it begins', [idle('retries_exhausted')], undefined, 'unsent'],
  ['runs', [RUNNING, ANSWER], undefined, 'running'],
  ['asks', [RUNNING, idle('requires_action')], undefined, 'running'],
  ['asks and is answered then', [RUNNING, idle('requires_action'), RUNNING, ANSWER, DONE], undefined, 'done'],
  ['steers a turn that runs', [ANSWER, DONE], { steers: true }, 'done'],
  ['waits behind a turn', [RUNNING, ANSWER, DONE], { behind: 1 }, 'running'],
  ['fails behind a turn that was interrupted', [INTERRUPT, DONE, RUNNING, DONE], { behind: 1 }, 'failed'],
  ['is answered behind a turn', [RUNNING, DONE, RUNNING, ANSWER, DONE], { behind: 1 }, 'done'],
  ['is interrupted behind a turn', [RUNNING, ANSWER, DONE, RUNNING, INTERRUPT, DONE], { behind: 1 }, 'interrupted'],
])('The fate of a prompt that %s is told by the events after it', async (_, events, mark, fate) => {
  expect(await fateAfter(events, mark)).toBe(fate)
})

test('It is looked for on all pages of them', async () => {
  const many = Array.from({ length: 450 }, () => ANSWER)
  expect(await fateAfter([RUNNING, ...many, DONE])).toBe('done')
  expect(await fateAfter([RUNNING, ...many])).toBe('running')
})
