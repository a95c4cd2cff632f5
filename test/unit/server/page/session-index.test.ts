import { expect, test } from 'vitest'
import type { Pool, SessionInfo } from '../../../../src/index.ts'
import type { PoolListeners } from '../../../../src/server/pool-listeners.ts'
import { SessionIndex } from '../../../../src/server/page/session-index.ts'
import { NOTHING_USED } from '../../../../src/usage/usage.ts'

const MOST = 50_000

const info = (number: number): SessionInfo =>
  ({
    tenant: 'default',
    key: `s${number}`,
    agent: 'assistant',
    state: 'hibernated',
    turns: 0,
    usage: { ...NOTHING_USED, inputTokens: 1, outputTokens: 2, cacheReadTokens: 4, cacheWriteTokens: 8 },
    createdAt: number,
    lastUsedAt: number,
  }) as unknown as SessionInfo

/** A pool with this many sessions, and a way to begin another one. */
function listed(count: number) {
  const heard: Record<string, (event: { session: { tenant: string; key: string } }) => void> = {}
  const pool = {
    sessions: async ({ limit, after }: { limit: number; after?: SessionInfo }) => {
      const from = after === undefined ? count : after.createdAt - 1
      return Array.from({ length: Math.min(limit, from) }, (_, index) => info(from - index))
    },
    session: async (key: string) => ({ info: async () => info(Number(key.slice(1))) }),
  }
  const listeners = { on: (name: string, listener: (typeof heard)[string]) => (heard[name] = listener) }
  const index = new SessionIndex(pool as unknown as Pool, listeners as unknown as PoolListeners)
  const begin = (number: number): unknown =>
    heard['session.created']?.({ session: { tenant: 'default', key: `s${number}` } })
  return { index, begin }
}

const newest = { search: '', offset: 0, limit: 2, sort: 'created', descending: true } as const

test('Beyond its bound a list has the newest sessions, also those that begin later', async () => {
  const { index, begin } = listed(MOST + 10)
  await index.load(() => undefined)
  expect([index.size, index.complete]).toEqual([MOST, false])
  begin(MOST + 11)
  await index.refresh()
  const { rows, total } = index.window(newest, true)
  expect([...rows.values()].map(({ key }) => key)).toEqual([`s${MOST + 11}`, `s${MOST + 10}`])
  expect(total).toBe(MOST)
})

test('A session that is older than all that are listed takes the place of none', async () => {
  const { index, begin } = listed(MOST + 10)
  await index.load(() => undefined)
  begin(1)
  await index.refresh()
  const { rows } = index.window({ ...newest, descending: false }, true)
  expect([...rows.values()].map(({ key }) => key)).toEqual(['s11', 's12'])
})

test('A list is complete once all sessions are read, and counts the tokens of each', async () => {
  const { index } = listed(3)
  expect(index.complete).toBe(false)
  const states: [number, boolean][] = []
  await index.load(() => states.push([index.size, index.complete]))
  expect(states).toEqual([[3, true]])
  const { rows } = index.window(newest, true)
  expect([...rows.values()].map(({ key, tokens }) => [key, tokens])).toEqual([
    ['s3', 15],
    ['s2', 15],
  ])
})
