import { describe, expect, test } from 'vitest'
import type { SessionInfo } from '../../../src/index.ts'
import { fakes } from '../../fixtures/fakes.ts'

/** A session whose process answers when the test says so, and the types of its events. */
async function silent(options: Parameters<typeof fakes>[0] = {}) {
  const all = await fakes(options)
  all.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await all.session('k')
  const types = async () => (await s.history({ limit: 100 })).map(({ event }) => event.type)
  return { ...all, s, types }
}

describe('Events of the caller’s own at the end of a turn', () => {
  test('come right before its last one, and are made of what the session has used then', async () => {
    const { s, driver, types } = await silent()
    const seen: SessionInfo[] = []
    const turn = s.send('hello', {
      lastEvents(info) {
        seen.push(info)
        return [{ type: 'session.usage', usage: { output_tokens: info.usage.outputTokens } }]
      },
    })
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    process.sayText('hi')
    process.finish({ costUsd: 0.5 })
    await turn.result
    expect((await types()).slice(-2)).toEqual(['session.usage', 'session.status_idle'])
    const { usage } = await s.info()
    expect(seen.map((info) => info.usage)).toEqual([usage])
    expect(usage.costUsd).toBe(0.5)
  })

  test('come once when the turn ends with an error', async () => {
    const { s, driver, types } = await silent()
    const turn = s.send('hello', { lastEvents: () => [{ type: 'session.usage', usage: {} }] })
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    process.exit({ signal: 'SIGKILL' })
    await turn.result.catch(() => undefined)
    expect((await types()).slice(-3)).toEqual(['session.error', 'session.usage', 'session.status_idle'])
  })

  test('that cannot be made are told of, and the turn ends all the same', async () => {
    const { s, driver, told, types } = await silent()
    const turn = s.send('hello', {
      lastEvents() {
        throw new Error('no idea')
      },
    })
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    process.finish()
    expect((await turn.result).subtype).toBe('success')
    expect(await types()).toEqual(['user.message', 'session.status_running', 'session.status_idle'])
    expect(told('warning')).toMatchObject([{ error: { message: 'no idea' } }])
  })
})

describe('A prompt that no user has sent', () => {
  test('is the agent’s to see, and in no event', async () => {
    const { s, driver, types } = await silent()
    const turn = s.send('go on', { showPrompt: false })
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    expect(JSON.stringify(process.prompts)).toContain('go on')
    process.finish()
    await turn.result
    expect(await turn.promptStored).toMatchObject({ number: 1, event: { type: 'session.status_running' } })
    expect(await types()).toEqual(['session.status_running', 'session.status_idle'])
  })

  test('waits for the turn that runs without a word', async () => {
    const { s, driver, types } = await silent()
    const first = s.send('hello')
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    const second = s.send('go on', { showPrompt: false, onBusy: 'queue' })
    expect(await types()).toEqual(['user.message', 'session.status_running'])
    process.finish()
    await first.result
    await driver.until(() => process.unanswered === 1)
    process.finish()
    await second.result
    expect((await types()).slice(-2)).toEqual(['session.status_running', 'session.status_idle'])
  })
})
