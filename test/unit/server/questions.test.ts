import { expect, test } from 'vitest'
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
