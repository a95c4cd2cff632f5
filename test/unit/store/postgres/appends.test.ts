import { expect, test } from 'vitest'
import { StoreError } from '../../../../src/errors.ts'
import { Appends } from '../../../../src/store/postgres/appends.ts'
import type { Claims } from '../../../../src/store/postgres/claims.ts'
import type { Connections } from '../../../../src/store/postgres/connections.ts'
import type { SessionClaim } from '../../../../src/store/store.ts'
import { event } from '../../../conformance/events.ts'

const claims = { lastOf: () => 0, fenceOf: () => 1, recordLast: () => undefined, raise: async () => undefined }

const claimOf = (uid: string, owner = '1'): SessionClaim => ({ uid, owner, fence: 1 })

/** A database that answers each statement with this, and what it was asked: the sessions of each statement. */
function database(answer: (uids: string[]) => unknown) {
  const asked: { owner: unknown; uids: string[] }[] = []
  const names: string[] = []
  const connections = {
    once: async ({ name, values }: { name: string; values: [unknown, number[], string[]] }) => {
      const [owner, items, uids] = values
      asked.push({ owner, uids })
      names.push(name)
      const problem = answer(uids)
      if (problem !== undefined) throw new StoreError('the statement failed', { cause: problem })
      return items.map((item) => ({ item }))
    },
    persist: (attempt: () => Promise<unknown>) => attempt(),
  }
  const appends = new Appends(connections as unknown as Connections, claims as unknown as Claims)
  const append = (claim: SessionClaim, number = 1) => appends.append(claim, [event(number)], undefined)
  return { asked, names, append }
}

const SESSIONS = ['a', 'b', 'c', 'd'].map((uid) => claimOf(uid))

test('The events of several sessions are one statement', async () => {
  const { asked, append } = database(() => undefined)
  await Promise.all(SESSIONS.map((claim) => append(claim)))
  expect(asked).toEqual([{ owner: 1, uids: ['a', 'b', 'c', 'd'] }])
})

test('A statement that the database refuses for one session is repeated for each: the others are stored', async () => {
  const { asked, append } = database((uids) => (uids.includes('c') ? { code: '22P05' } : undefined))
  const ended = await Promise.allSettled(SESSIONS.map((claim) => append(claim)))
  expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect(asked.map(({ uids }) => uids.length)).toEqual([4, 1, 1, 1, 1])
})

test.each([{ code: '57P01' }, { code: 'ECONNREFUSED' }, { code: '40001' }])(
  'A database that is away (%o) fails them together: one attempt, not one for each session',
  async (problem) => {
    const { asked, append } = database(() => problem)
    const ended = await Promise.allSettled(SESSIONS.map((claim) => append(claim)))
    expect(ended.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected', 'rejected'])
    expect(asked).toHaveLength(1)
  },
)

test('A host that has come back as another one writes for each in a statement of its own', async () => {
  const { asked, append } = database(() => undefined)
  await Promise.all([claimOf('a'), claimOf('b', '2'), claimOf('c', '2')].map((claim) => append(claim)))
  expect(asked).toEqual([
    { owner: 1, uids: ['a'] },
    { owner: 2, uids: ['b', 'c'] },
  ])
})

test('Only a statement whose events all follow what this host knows does without a look at what is there', async () => {
  const { names, append } = database(() => undefined)
  await Promise.all([append(claimOf('a')), append(claimOf('b'))])
  await Promise.all([append(claimOf('a')), append(claimOf('b'), 7)])
  expect(names).toEqual(['append new', 'append'])
})
