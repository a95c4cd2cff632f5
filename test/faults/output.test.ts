import { expect, test } from 'vitest'
import { openSite, until } from '../fixtures/real-pool.ts'
import { fakeAgent } from './agents.ts'
import { expectTrueGauges, measured, WHOLE } from './assertions.ts'
import { startHost } from './child-host.ts'
import type { ChildHost } from './child-host.ts'

const MIB = 2 ** 20

/** A gigabyte in the whole suite; in the short one enough to pass every limit by far. */
const FLOOD_BYTES = (WHOLE ? 1024 : 256) * MIB

const LINES = WHOLE ? 1_000_000 : 250_000

/** What reading a broken stream may take more than reading a whole one of the same length. */
const ALLOWANCE_BYTES = 32 * MIB

const LIMIT_MS = 7_000

const SMALL_MESSAGE_BYTES = 230

/** The most memory that a host of its own needs while it reads this. */
async function peakWhile(name: string, run: (host: ChildHost) => Promise<unknown>): Promise<number> {
  const site = await openSite()
  const host = await startHost(site, { agent: fakeAgent() })
  await host.say('one', 'first')
  host.resetPeak()
  await run(host)
  const peak = host.peakBytes
  measured(`host memory at its peak: ${name}`, Math.round(peak / MIB), 'MiB')
  return peak
}

/** Runs this prompt whose process breaks the protocol, and waits until that is gone. */
async function broken(host: ChildHost, prompt: string, ms = LIMIT_MS): Promise<object> {
  const ended = host.say('one', prompt).then(
    ({ text }) => ({ text }),
    (error: object) => error,
  )
  const left = host.event('worker.closed')
  const how = await ended
  const endedAt = performance.now()
  await host.witness.goneWithin(ms, endedAt)
  expect(await left).toMatchObject({ reason: 'output', exit: { cause: 'ended' } })
  return how
}

async function goesOn(host: ChildHost, turn: number): Promise<void> {
  expect((await host.say('one', 'next')).text).toBe(`[turn ${turn}] You said: next`)
  await until(async () => expectTrueGauges(await host.stats(), await host.workers(), host))
}

test.for(['x', '{'])(
  'A stdout that is flooded with "%s" and no end of line ends its process and costs the host little memory',
  async (character) => {
    const usual = await peakWhile('as many bytes in messages', (host) =>
      host.say('one', `second\n@fault messages ${FLOOD_BYTES}`),
    )
    const flooded = await peakWhile(`"${character}" without an end of line`, async (host) => {
      expect(await broken(host, `second\n@fault line ${FLOOD_BYTES} ${character}`)).toMatchObject({
        name: 'WorkerExitedError',
        message: expect.stringContaining('it wrote a line of more than'),
      })
      await goesOn(host, 3)
    })
    expect(flooded - usual).toBeLessThan(ALLOWANCE_BYTES)
  },
)

test('Very many small messages are read, and cost the host no more memory than large ones', async () => {
  const usual = await peakWhile('as many bytes in large messages', (host) =>
    host.say('one', `second\n@fault messages ${LINES * SMALL_MESSAGE_BYTES}`),
  )
  const flooded = await peakWhile('very many small messages', async (host) => {
    const { text, messages } = await host.say('one', `second\n@fault lines ${LINES}`)
    expect(text).toBe('[turn 2] You said: second')
    expect(messages).toBeGreaterThanOrEqual(LINES)
    await goesOn(host, 3)
  })
  expect(flooded - usual).toBeLessThan(ALLOWANCE_BYTES)
})

test('A flooded stderr is drained, holds nothing up and costs the host little memory', async () => {
  const usual = await peakWhile('as many bytes on stdout', (host) =>
    host.say('one', `second\n@fault messages ${FLOOD_BYTES}`),
  )
  const flooded = await peakWhile('a flooded stderr', async (host) => {
    expect((await host.say('one', `second\n@fault stderr ${FLOOD_BYTES}`)).text).toBe('[turn 2] You said: second')
    await goesOn(host, 3)
  })
  expect(flooded - usual).toBeLessThan(ALLOWANCE_BYTES)
})

test('A message of many megabytes is read whole', async () => {
  const site = await openSite()
  const host = await startHost(site, { agent: fakeAgent() })
  await host.say('one', 'first')
  const { text, messages } = await host.say('one', `second\n@fault long ${24 * MIB}`)
  expect(text).toBe('[turn 2] You said: second')
  expect(messages).toBe(3)
  await goesOn(host, 3)
})

test('Lines that are not JSON, or no messages, harm nobody', async () => {
  const site = await openSite()
  const host = await startHost(site, { agent: fakeAgent() })
  await host.say('one', 'first')
  expect((await host.say('one', 'second\n@fault garbage')).text).toBe('[turn 2] You said: second')
  await goesOn(host, 3)
})

test('A process that closes its stdout and lives on is ended, and the next turn resumes', async () => {
  const site = await openSite()
  const host = await startHost(site, { agent: fakeAgent() })
  await host.say('one', 'first')
  const sentAt = performance.now()
  expect(await broken(host, 'second\n@fault close\n@fault silence')).toMatchObject({
    name: 'WorkerExitedError',
    message: expect.stringContaining('it closed its stdout'),
  })
  const ms = Math.round(performance.now() - sentAt)
  expect(ms).toBeLessThan(LIMIT_MS)
  measured('stdout closed in mid-turn, process alive', ms)
  await goesOn(host, 3)
})

test('A process that closes its stdout, ignores SIGTERM and lives on is ended too', async () => {
  const site = await openSite()
  const host = await startHost(site, { agent: fakeAgent() })
  await host.say('one', 'first')
  const sentAt = performance.now()
  await broken(host, 'second\n@fault deaf\n@fault close\n@fault silence')
  const ms = Math.round(performance.now() - sentAt)
  expect(ms).toBeLessThan(LIMIT_MS)
  measured('stdout closed in mid-turn, SIGTERM ignored', ms)
  await goesOn(host, 3)
})
