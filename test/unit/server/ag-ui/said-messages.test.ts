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
