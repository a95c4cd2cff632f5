import { expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import type { AgentOptions, Session } from '../../../src/index.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { NO_SPARES, fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const mcpServers = { deaf: { command: 'sleep', args: ['1000'] }, fine: { command: 'true' } }
const DEAF = { name: 'deaf', status: 'pending' as const }
const FAILED = { name: 'deaf', status: 'failed' as const, error: 'connection timed out after 15000ms' }
const FINE = { name: 'fine', status: 'connected' as const }

interface Watched extends Fakes {
  one: Session
  process: FakeProcess
}

/** A session whose process has started, and says this of its servers. */
async function started(servers: FakeProcess['servers'], agent: AgentOptions = { mcpServers }): Promise<Watched> {
  const setup = await fakes({ agents: { assistant: { ...NO_SPARES, ...agent } }, limits: { inactivityTimeout: '5s' } })
  setup.driver.onStart = (process) => {
    process.answersAtOnce = false
    process.servers = servers
  }
  const one = await setup.session('one')
  await one.warm()
  await setup.clock.settle()
  return { ...setup, one, process: await setup.driver.process(0) }
}

const looks = ({ process }: Watched): number =>
  process.calls.filter(({ method }) => method === 'mcpServerStatus').length

test('A server that does not come up is told of once, by name and in the words of the CLI', async () => {
  const setup = await started([DEAF, FINE])
  expect(setup.told('mcp.failed')).toEqual([])
  setup.process.servers = [FAILED, FINE]
  await setup.clock.advance(15_000)
  expect(setup.told('mcp.failed')).toEqual([
    { worker: expect.objectContaining({ session: 'one' }), server: 'deaf', status: 'failed', error: FAILED.error },
  ])
})

test('Servers are looked at when their time is over, and then as long as one is on its way', async () => {
  const setup = await started([DEAF, FINE])
  await setup.clock.advance(14_000)
  expect(looks(setup)).toBe(1)
  await setup.clock.advance(11_000)
  expect(looks(setup)).toBe(4)
  setup.process.servers = [{ ...DEAF, status: 'connected' }, FINE]
  await setup.clock.advance(60_000)
  expect(looks(setup)).toBe(5)
  expect(setup.told('mcp.failed')).toEqual([])
})

test('A server that stays on its way is not looked at for ever', async () => {
  const setup = await started([DEAF])
  await setup.clock.advance(10 * 60_000)
  expect(looks(setup)).toBe(11)
})

test('When the first turn begins, what became of its servers is told at once', async () => {
  const setup = await started([DEAF, FINE])
  setup.process.servers = [FAILED, FINE]
  setup.one.send('Hello')
  await setup.clock.settle()
  setup.process.say({ type: 'system', subtype: 'init', session_id: 's' } as SDKMessage)
  await setup.clock.settle()
  expect(setup.told('mcp.failed')).toMatchObject([{ server: 'deaf' }])
})

test('A process without servers of its own is not asked', async () => {
  const setup = await started([DEAF], {})
  await setup.clock.advance(10_000)
  expect(looks(setup)).toBe(0)
})

test('One that somebody must sign in to is told of, too', async () => {
  const setup = await started([{ name: 'fine', status: 'needs-auth' }])
  expect(setup.told('mcp.failed')).toMatchObject([{ server: 'fine', status: 'needs-auth', error: undefined }])
})

test('A turn that is ended while a server is on its way names it', async () => {
  const { one, clock } = await started([DEAF, FINE])
  const turn = one.send('Hello')
  await clock.advance(60_000)
  await expect(turn.result).rejects.toMatchObject({
    name: 'TurnTimeoutError',
    limit: 'inactivityTimeout',
    message: expect.stringContaining('still waited for the MCP server "deaf" to start (starts.mcpTimeout)'),
  })
})

test('One that is ended when all have answered names none', async () => {
  const { one, clock } = await started([FAILED, FINE])
  const turn = one.send('Hello')
  await clock.advance(60_000)
  await expect(turn.result).rejects.toMatchObject({ message: expect.not.stringContaining('MCP') })
})

test('A process that leaves meanwhile is not asked any more', async () => {
  const setup = await started([DEAF])
  await setup.one.hibernate()
  const before = looks(setup)
  await setup.clock.advance(10_000)
  expect(looks(setup)).toBe(before)
})
