import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import type { FloodReport, FloodRequest } from '../fixtures/flood-host.ts'
import { event, MODEL, modelAsked, openSite, processesOf, until } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const MIB = 2 ** 20

/** What a stopped reader may cost more than one that keeps up. */
const ALLOWANCE_BYTES = 32 * MIB

/** All of it is in the next request to the model, which takes 32 MB at most. */
const BLOCKS = 28
const FLOOD = Array.from({ length: BLOCKS }, () => '@sim text 1MiB chunk 64KiB').join('\n')
const FLOOD_CHARACTERS = BLOCKS * MIB
const WITH_CALL = `${FLOOD}\n@sim tool mcp__host__note {}`

const PROGRAM = fileURLToPath(new URL('../fixtures/flood-host.ts', import.meta.url))

/** Runs one host to its end. */
async function flood(given: Pick<FloodRequest, 'side' | 'reader' | 'prompt'>): Promise<FloodReport> {
  const site = await openSite()
  const dataDir = await site.directory('data')
  const request: FloodRequest = { ...given, dataDir, url: site.simulator.url, model: MODEL }
  // With little room for young garbage the numbers tell what is held, and not when it was collected.
  const execArgv = ['--no-warnings', '--max-semi-space-size=1']
  const child = fork(PROGRAM, [JSON.stringify(request)], { execArgv })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const report = await Promise.race([
    once(child, 'message').then(([message]) => message as FloodReport),
    exited.then(([code]) => Promise.reject(new Error(`the host ended with code ${code} before it reported`))),
  ])
  await exited
  expect(existsSync(join(dataDir, 'spool')) ? await readdir(join(dataDir, 'spool')) : []).toEqual([])
  await until(async () => expect(await processesOf(site.root)).toEqual([]))
  return report
}

test.runIf(WHOLE)(
  'A reader that stops costs the host hardly more than one that keeps up, and loses nothing',
  async () => {
    const keepsUp = await flood({ side: 'pool', reader: 'keeps up', prompt: WITH_CALL })
    const stops = await flood({ side: 'pool', reader: 'stops', prompt: WITH_CALL })
    const plain = await flood({ side: 'sdk', reader: 'stops', prompt: WITH_CALL })
    // The question and the call come after the flood, and reach a host whose reader has stopped before it.
    expect(stops.whileStopped).toEqual(['question', 'tool call'])
    for (const { characters, result } of [keepsUp, stops, plain])
      expect({ characters: characters >= FLOOD_CHARACTERS, result }).toEqual({ characters: true, result: 'success' })
    expect(stops.characters).toBe(keepsUp.characters)
    expect(stops.stoppedPeakBytes).toBeLessThanOrEqual(keepsUp.peakBytes + ALLOWANCE_BYTES)
    // Nor does it cost more to catch up, which is faster than the collector of garbage.
    expect(stops.peakBytes).toBeLessThanOrEqual(keepsUp.peakBytes + ALLOWANCE_BYTES)
    // The SDK alone keeps all of it: so this measures what it says.
    expect(plain.stoppedPeakBytes).toBeGreaterThan(stops.stoppedPeakBytes + ALLOWANCE_BYTES)
  },
  240_000,
)

test.runIf(WHOLE)(
  'A turn whose reader has stopped is interrupted all the same, and what came before is whole',
  async () => {
    const report = await flood({
      side: 'pool',
      reader: 'stops and interrupts',
      prompt: `${FLOOD}\n@sim tool mcp__host__note {}\n@sim silence`,
    })
    expect(report.whileStopped).toEqual(['question', 'tool call', 'interrupt'])
    expect(report).toMatchObject({ characters: FLOOD_CHARACTERS, result: 'error_during_execution' })
  },
  240_000,
)

test('A large turn that nobody reads ends with its result, and drops the oldest of what it could not keep', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { model: MODEL, includePartialMessages: true, spares: { max: 0 } } } })
  const session = await pool.session('one', { agent: 'a' })
  const turn = session.send('@sim text 8MiB chunk 64KiB')
  const result = await turn.result
  expect(result.subtype === 'success' && result.result.length).toBe(8 * MIB)
  expect(turn.droppedMessages).toBeGreaterThan(0)
  const next = await session.send('next').result
  expect(next).toMatchObject({ result: '[turn 2] You said: next' })
})

test.runIf(WHOLE)('A reader that has stopped does not keep the turn beyond its time, and is told', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: { a: { model: MODEL, includePartialMessages: true, spares: { max: 0 }, limits: { turnTimeoutMs: 4_000 } } },
  })
  const session = await pool.session('one', { agent: 'a' })
  await session.warm()
  const ended = event(pool, 'turn.ended')
  const turn = session.send(`flood\n@sim text 16MiB chunk 64KiB\n@sim silence`)
  await turn.next()
  await modelAsked(site, 'flood')
  expect(await ended).toMatchObject({ outcome: 'turn_timeout' })
  await expect(
    (async () => {
      for await (const message of turn) expect(message).toBeDefined()
    })(),
  ).rejects.toMatchObject({ name: 'TurnTimeoutError' })
  expect(await session.send('next').result).toMatchObject({ subtype: 'success' })
})
