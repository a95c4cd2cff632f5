import type { Message } from '@ag-ui/core'
import { describe, expect, test } from 'vitest'
import { merge, snapshots } from '../../../../src/server/ag-ui/merge.ts'

const user = (id: string, content = id): Message => ({ id, role: 'user', content })
const agent = (id: string, content = id): Message => ({ id, role: 'assistant', content })
const thought = (id: string): Message => ({ id, role: 'reasoning', content: id })
const call = (id: string): NonNullable<Extract<Message, { role: 'assistant' }>['toolCalls']>[number] => ({
  id,
  type: 'function',
  function: { name: 'f', arguments: '{}' },
})
const calling = (id: string, ...calls: string[]): Message => ({ id, role: 'assistant', toolCalls: calls.map(call) })
const result = (id: string, toolCallId: string, content = id): Message => ({ id, role: 'tool', toolCallId, content })

const ids = (messages: readonly Message[]): string => messages.map(({ id }) => id).join(' ')

describe('what a front end is to show', () => {
  test.each<[string, Message[], Message[], string]>([
    ['the session where it shows nothing', [], [user('u1'), agent('a1')], 'u1 a1'],
    ['what it shows where the session has nothing', [user('u1')], [], 'u1'],
    ['what it lacks before what it has', [user('u2')], [user('u1'), agent('a1'), user('u2')], 'u1 a1 u2'],
    ['what it lacks behind what it has', [user('u1')], [user('u1'), agent('a1')], 'u1 a1'],
    ['its own messages where they are', [agent('hi'), user('u1')], [user('u1'), agent('a1')], 'hi u1 a1'],
    ['its own order', [user('u2'), user('u1')], [user('u1'), user('u2')], 'u2 u1'],
  ])('is %s', (_what, shown, session, wanted) => {
    expect(ids(merge(shown, session))).toBe(wanted)
  })

  test('has one result for each tool call, under the id that the front end gave it', () => {
    const shown = [user('u'), calling('a', 'c'), result('mine', 'c', 'as I see it')]
    const session = [user('u'), calling('a', 'c'), result('c:result', 'c', 'as it was')]
    expect(merge(shown, session)[2]).toEqual(result('mine', 'c', 'as it was'))
    expect(merge(shown, session)).toHaveLength(3)
  })

  test('has each tool call once, where the front end shows it', () => {
    const shown = [user('u'), calling('m1', 'c1')]
    const session = [user('u'), calling('c1', 'c1'), agent('m1', 'text')]
    expect(merge(shown, session)).toEqual([user('u'), { ...calling('m1', 'c1'), content: 'text' }])
  })

  test('has the user’s words as the front end has them, and the agent’s as the session has them', () => {
    const merged = merge([user('u', 'mine'), agent('a', 'half')], [user('u', 'kept'), agent('a', 'half and whole')])
    expect(merged).toEqual([user('u', 'mine'), agent('a', 'half and whole')])
  })
})

/** What an official client shows after a snapshot. */
function applied(shown: readonly Message[], snapshot: readonly Message[]): Message[] {
  const hasThoughts = snapshot.some(({ role }) => role === 'reasoning')
  const there = new Map(snapshot.map((message) => [message.id, message]))
  const kept = shown.filter(({ id, role }) => there.has(id) || (role === 'reasoning' && !hasThoughts))
  const known = new Set(kept.map(({ id }) => id))
  return [...kept.map((message) => there.get(message.id) ?? message), ...snapshot.filter(({ id }) => !known.has(id))]
}

describe('snapshots', () => {
  test.each<[string, Message[], Message[], number]>([
    ['nothing is new', [user('u'), thought('t'), agent('a')], [user('u'), thought('t'), agent('a')], 0],
    ['something comes last', [user('u'), thought('t')], [user('u'), thought('t'), agent('a')], 1],
    ['something goes', [user('u'), agent('half')], [user('u')], 1],
    ['something comes before', [user('u2')], [user('u1'), agent('a1'), user('u2')], 2],
    ['it comes before thoughts, too', [user('u2'), thought('t2')], [user('u1'), user('u2'), thought('t2')], 2],
  ])('make a client show what it is to show where %s', (_what, shown, wanted, count) => {
    const made = snapshots(shown, wanted)
    expect(made).toHaveLength(count)
    expect(made.reduce<readonly Message[]>(applied, shown)).toEqual(wanted)
  })
})
