import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { MODEL, openSite, until } from '../fixtures/real-pool.ts'
import { measured, WHOLE } from './assertions.ts'
import { startHost } from './child-host.ts'
import type { ChildHost, Footprint } from './child-host.ts'

const SESSIONS = 50
const TURNS_PER_VISIT = 10
const VISITS = 4
const LANES = 2
const MIB = 2 ** 20

/** Every session once: some turns, and its process leaves. */
async function visitAll(host: ChildHost, visit: number): Promise<void> {
  const lane = async (number: number): Promise<void> => {
    for (let index = number; index < SESSIONS; index += LANES) {
      for (let turn = 1; turn <= TURNS_PER_VISIT; turn += 1) {
        const { text } = await host.say(`s${index}`, 'go on')
        expect(text).toBe(`[turn ${visit * TURNS_PER_VISIT + turn}] You said: go on`)
      }
      await host.call('hibernate', `s${index}`)
    }
  }
  await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)))
}

async function takeStock(host: ChildHost): Promise<Footprint & { descriptors: number }> {
  const footprint = await host.call<Footprint>('footprint')
  return { ...footprint, descriptors: readdirSync(`/proc/${host.pid}/fd`).length }
}

test.runIf(WHOLE)(
  `${SESSIONS * TURNS_PER_VISIT * VISITS} turns over ${SESSIONS} sessions that hibernate in between leave a host as it was`,
  { timeout: 1_800_000 },
  async () => {
    const site = await openSite()
    const host = await startHost(site, { agent: { model: MODEL, spares: { max: 0 }, unboundSpares: { max: 0 } } })
    await visitAll(host, 0)
    const before = await takeStock(host)
    for (let visit = 1; visit < VISITS; visit += 1) await visitAll(host, visit)
    const after = await takeStock(host)
    measured('held memory before the last 1,500 turns', Math.round(before.heldBytes / MIB), 'MiB')
    measured('held memory after the last 1,500 turns', Math.round(after.heldBytes / MIB), 'MiB')
    measured('rss before the last 1,500 turns', Math.round(before.rss / MIB), 'MiB')
    measured('rss after the last 1,500 turns', Math.round(after.rss / MIB), 'MiB')
    expect(after.descriptors).toBe(before.descriptors)
    // A timer of the last process that left may still run out.
    await until(async () => {
      const { resources } = await takeStock(host)
      const more = Object.keys(resources).filter((name) => (resources[name] ?? 0) > (before.resources[name] ?? 0))
      expect(more).toEqual([])
    })
    expect(after.listeners).toEqual(before.listeners)
    expect(after.heldBytes).toBeLessThan(before.heldBytes * 1.1)
    expect(after.rss).toBeLessThan(before.rss * 1.1)
  },
)
