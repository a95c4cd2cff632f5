import { expect, test } from 'vitest'
import { createTestPool } from '../../../src/testing/index.ts'

test('a pool on fakes answers at once, and goes on with a conversation after its process has gone', async () => {
  await using fakes = await createTestPool()
  const { pool, driver, clock } = fakes
  const session = await pool.session('conversation-42', { agent: 'assistant' })
  const texts: string[] = []
  for await (const message of session.send('Hello')) {
    if (message.type === 'assistant' && message.message.content[0]?.type === 'text')
      texts.push(message.message.content[0].text)
  }
  await clock.advance(31 * 60_000)
  expect(driver.living).toEqual([])
  const result = await session.send('Still there?').result

  expect(texts).toEqual(['[turn 1] You said: Hello'])
  expect(result).toMatchObject({ subtype: 'success', result: '[turn 2] You said: Still there?' })
  expect(driver.processes.map(({ spec }) => spec.conversation.kind)).toEqual(['new', 'resume'])
})
