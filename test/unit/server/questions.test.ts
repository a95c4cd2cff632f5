import { describe, expect, test } from 'vitest'
import { toolUseEventId } from '../../../src/index.ts'
import { Questions } from '../../../src/server/questions.ts'
import type { Logger } from '../../../src/telemetry/log.ts'
import { FakeClock } from '../../../src/testing/index.ts'

test('A decision is logged with its origin and how long the question waited', async () => {
  const clock = new FakeClock()
  const logged: [string, object][] = []
  const logger = { info: (message: string, facts: object) => logged.push([message, facts]) } as unknown as Logger
  const questions = new Questions({ clock, logger })
  const session = { tenant: 't', key: 'k', agent: 'a' }
  const asked = questions.canUseTool('Bash', { command: 'ls' }, {
    session,
    signal: new AbortController().signal,
    toolUseID: 'toolu_1',
  } as never)
  await clock.advance(1_500)
  const [question] = questions.open('t', 'k')
  questions.answer(session, question?.id ?? '', { allow: true }, 'the operator')
  expect(await asked).toMatchObject({ behavior: 'allow' })
  const facts = { by: 'the operator', tool: 'Bash', tenant: 't', session: 'k', agent: 'a', waited_ms: 1_500 }
  expect(logged).toEqual([['permission allowed', { ...facts, question: question?.id }]])
})

const SESSION = { tenant: 't', key: 'k', agent: 'a' }
const OTHER = { ...SESSION, key: 'other' }

/** Questions, how each was settled, and one way to ask. */
function setting() {
  const clock = new FakeClock()
  const questions = new Questions({ clock, deadlineMs: 60_000 })
  const settled: [id: string, allow: boolean, by: string][] = []
  const asked: string[] = []
  questions.events.on('settled', ({ question, allow, by }) => settled.push([question.id, allow, by]))
  questions.events.on('asked', ({ id }) => asked.push(id))
  const ask = (
    id: string,
    { session = SESSION as typeof SESSION | undefined, signal = new AbortController().signal } = {},
  ) => questions.callTool(session, signal, { id, name: 'Bash', input: {} })
  return { clock, questions, settled, asked, ask }
}

describe('A question', () => {
  test('waits in its session, and its first answer is taken', async () => {
    const { questions, ask, settled, asked } = setting()
    const [one, two] = [ask('one'), ask('two')]
    expect(questions.open('t', 'k')).toMatchObject([
      { id: 'one', kind: 'tool_call', message: 'Run Bash', session: SESSION },
      { id: 'two' },
    ])
    expect(questions.open('t', 'other')).toEqual([])
    expect(questions.answer(OTHER, 'one', { allow: true }, 'me')).toBe('unknown')
    expect(questions.answer(SESSION, 'one', { allow: true, content: { a: 1 } }, 'me')).toBe('taken')
    expect(questions.answer(SESSION, 'one', { allow: false }, 'me')).toBe('late')
    expect(await one).toEqual({ allow: true, content: { a: 1 } })
    expect(questions.open('t', 'k')).toMatchObject([{ id: 'two' }])
    questions.answer(SESSION, 'two', { allow: false }, 'you')
    expect(await two).toEqual({ allow: false })
    expect(asked).toEqual(['one', 'two'])
    expect(settled).toEqual([
      ['one', true, 'me'],
      ['two', false, 'you'],
    ])
    expect([questions.knows(SESSION, 'one'), questions.knows(SESSION, 'three')]).toEqual([true, false])
    expect([questions.knows(OTHER, 'one'), questions.hasSettledCall(SESSION, toolUseEventId('one'))]).toEqual([
      false,
      true,
    ])
  })

  test('is known while it waits, by its id and by the event of its call', () => {
    const { questions, ask } = setting()
    void ask('one')
    expect(questions.knows(SESSION, 'one')).toBe(true)
    expect(questions.openCall(SESSION, toolUseEventId('one'))?.id).toBe('one')
    expect(questions.openCall(SESSION, toolUseEventId('two'))).toBeUndefined()
    expect(questions.hasSettledCall(SESSION, toolUseEventId('one'))).toBe(false)
  })

  test('is a no by itself after its time', async () => {
    const { clock, questions, ask, settled } = setting()
    const answer = ask('one')
    await clock.advance(59_999)
    expect(questions.open('t', 'k')).toHaveLength(1)
    await clock.advance(1)
    expect(await answer).toEqual({ allow: false, message: 'No answer within 1m.' })
    expect([settled, clock.pending]).toEqual([[['one', false, 'deadline']], 0])
  })

  test('is withdrawn with its turn, also if that has ended before', async () => {
    const { questions, ask, asked, clock } = setting()
    const turn = new AbortController()
    const before = ask('one', { signal: turn.signal })
    turn.abort()
    const after = ask('two', { signal: turn.signal })
    const withdrawn = { allow: false, message: 'The turn was interrupted.' }
    expect(await Promise.all([before, after])).toEqual([withdrawn, withdrawn])
    expect([asked, questions.open('t', 'k'), clock.pending]).toEqual([['one'], [], 0])
  })

  test('of no session is a no', async () => {
    const { questions } = setting()
    const signal = new AbortController().signal
    expect(await questions.callTool(undefined, signal, { id: 'x', name: 'Bash', input: {} })).toEqual({
      allow: false,
      message: 'There is no session to ask in.',
    })
  })

  test('is a no beyond 32 of a session, and while another one has its id', async () => {
    const { questions, ask, settled } = setting()
    void ask('0')
    const tooMuch = { allow: false, message: 'Too much is being asked at once.' }
    expect(await ask('0')).toEqual(tooMuch)
    for (let number = 1; number < 32; number += 1) void ask(`${number}`)
    expect(await ask('32')).toEqual(tooMuch)
    void ask('32', { session: OTHER })
    expect([questions.open('t', 'k').length, questions.open('t', 'other').length]).toEqual([32, 1])
    expect(settled).toEqual([
      ['0', false, 'limit'],
      ['32', false, 'limit'],
    ])
  })
})

describe('An answer that comes before its question', () => {
  test('waits for it, once', async () => {
    const { questions, ask, settled } = setting()
    questions.answerCall(SESSION, toolUseEventId('one'), { allow: true }, 'me')
    expect(await ask('one')).toEqual({ allow: true })
    expect(settled).toEqual([['one', true, 'me']])
    void ask('one')
    expect(questions.open('t', 'k')).toHaveLength(1)
    questions.answerCall(SESSION, toolUseEventId('one'), { allow: true }, 'me')
    expect(questions.open('t', 'k')).toEqual([])
  })

  test('does so until its turn ends, and a hundred of a session do', async () => {
    const { questions, ask } = setting()
    const answerAll = (count: number): void => {
      for (let number = 0; number < count; number += 1)
        questions.answerCall(SESSION, toolUseEventId(`${number}`), { allow: true }, 'me')
    }
    answerAll(101)
    expect(await ask('1')).toEqual({ allow: true })
    void ask('0')
    expect(questions.open('t', 'k')).toMatchObject([{ id: '0' }])
    questions.turnEnded(SESSION)
    void ask('2')
    expect(questions.open('t', 'k')).toHaveLength(2)
  })
})
