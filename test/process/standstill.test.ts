import { expect, test } from 'vitest'
import { startHost } from '../faults/child-host.ts'
import { modelAsked, openSite, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'

const LIMIT_MS = 5_000

/** Resolves when the model has taken this long for an answer. */
async function modelTakes(site: Site, ms: number): Promise<void> {
  const content = `@sim delay ${ms}`
  const body = { model: 'claude-sonnet-5', max_tokens: 10, messages: [{ role: 'user', content }] }
  const response = await fetch(`${site.simulator.url}/v1/messages`, { method: 'POST', body: JSON.stringify(body) })
  expect(await response.text()).toContain('[turn 1]')
}

test('A host that was stopped for longer than its limits blames neither a turn nor a start', async () => {
  const site = await openSite()
  const agent = {
    model: 'claude-sonnet-5',
    spares: { max: 0 },
    unboundSpares: { max: 0 },
    limits: { turnTimeoutMs: LIMIT_MS, inactivityTimeoutMs: LIMIT_MS },
  }
  const host = await startHost(site, { agent, starts: { timeoutMs: 10_000 } })
  await host.call('warm', 'one')
  const turn = host.say('one', `first\n@sim delay ${LIMIT_MS - 1_000}\n@sim say done`)
  const request = await modelAsked(site, 'first')
  process.kill(host.pid, 'SIGSTOP')
  await modelTakes(site, LIMIT_MS + 3_000)
  await until(() => expect(request.outcome).not.toBe('open'))
  process.kill(host.pid, 'SIGCONT')
  expect((await turn).text).toBe('done')

  const started = host.event('worker.started')
  const cold = host.say('two', 'second')
  await started
  process.kill(host.pid, 'SIGSTOP')
  await modelTakes(site, 12_000)
  process.kill(host.pid, 'SIGCONT')
  expect((await cold).text).toBe('[turn 1] You said: second')
  expect(await host.stats()).toMatchObject({ totals: { turnsByOutcome: { success: 2 } } })
})
