import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFailed, onTestFinished, test } from 'vitest'
import { ATTACKS } from '../../bench/shared/attacks.ts'
import { Victim } from '../../bench/shared/victim.ts'
import { hashKey } from '../../src/server/auth/authenticator.ts'
import type { Description } from '../fixtures/fuzz.ts'
import { steps } from '../fixtures/hostile-steps.ts'
import type { Kind } from '../fixtures/hostile-steps.ts'
import { serve } from './serving.ts'

const KEYS = { acme: 'key-of-acme-0123456789abcdef', evil: 'key-of-evil-0123456789abcdef' }

const CONFIG = `agents: { assistant: { spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5 } }
dataDir: ./data
isolation: { mode: none }
server:
  managedAgents: { define: true }
  grace: 2s
  keys: [${Object.entries(KEYS)
    .map(([tenant, key]) => `{ tenant: ${tenant}, sha256: ${hashKey(key)} }`)
    .join(', ')}]
`

/** By hand: `HOSTILE_STEPS=10000 HOSTILE_SEED=7`. Without, as many as a minute has room for. */
const STEPS = Number(process.env['HOSTILE_STEPS'] ?? 200)
const SEED = Number(process.env['HOSTILE_SEED'] ?? 20_261_130)
const BY_HAND = process.env['HOSTILE_STEPS'] !== undefined
const MINUTE_MS = 60_000
const KINDS: Kind[] = ['archive', 'operation', 'request', 'transcript', 'tree', 'turn']

/** Steps at once. */
const LANES = 4

/** Enough to end a server of before; the benchmark has all of it. */
const SCALE = 0.25

test(
  'While one client or tenant attacks in every way, another tenant talks and is never cut',
  { timeout: 600_000 },
  async () => {
    const serving = await serve(CONFIG, { limits: { descriptors: 256, heapMiB: 256 } })
    const { url, command } = serving
    const victim = new Victim({ url, key: KEYS.acme, session: 'victim', address: '127.0.0.2' })
    onTestFinished(() => victim.leave())
    await victim.turn()
    for (const [name, attack] of Object.entries(ATTACKS)) {
      const before = victim.turns
      const over = new AbortController()
      const talking = victim.talk(over.signal)
      await attack({ url, key: KEYS.evil, scale: SCALE })
      over.abort()
      await talking
      await victim.turn()
      // One turn at least while it went on, beside the one after it.
      if (victim.turns < before + 2) throw new Error(`the victim had no turn during: ${name}`)
    }
    expect((await fetch(`${url}/livez`)).status).toBe(200)
    command.child.kill('SIGTERM')
    const { code, left, stderr } = await command.ended
    expect({ code, left, uncaught: /uncaught/.test(stderr) }).toEqual({ code: 0, left: 0, uncaught: false })
  },
)

test(
  `${STEPS} random requests, archives, transcripts and trees of one tenant (seed ${SEED}): another talks and is never cut`,
  { timeout: 7_200_000 },
  async () => {
    const serving = await serve(CONFIG, { limits: { descriptors: 1_024, heapMiB: 400 } })
    const { url, command, folder } = serving
    const victim = new Victim({ url, key: KEYS.acme, session: 'victim', address: '127.0.0.2' })
    onTestFinished(() => victim.leave())
    await victim.turn()
    const description = (await (await fetch(`${url}/openapi.json`)).json()) as Description
    const playground = { url, key: KEYS.evil, dataDir: join(folder, 'data'), tenant: 'evil' }
    // Something to damage from the first step on.
    const first = { method: 'POST', headers: { 'x-api-key': KEYS.evil }, body: '{"prompt":"hello"}' }
    await (await fetch(`${url}/sessions/one/messages`, first)).text()
    const over = new AbortController()
    const talking = victim.talk(over.signal)
    let done = 0
    /** Of each kind, how many came to what they were for. */
    const effective = new Map<Kind, number>()
    onTestFailed(() => void process.stderr.write(`It came to step ${done} of seed ${SEED}\n`))
    const since = performance.now()
    const all = fc.sample(steps(description), { numRuns: STEPS, seed: SEED }).values()
    const lane = async (): Promise<void> => {
      for (const step of all) {
        if (await step.run(playground)) effective.set(step.kind, (effective.get(step.kind) ?? 0) + 1)
        done += 1
        if (!BY_HAND && performance.now() - since > MINUTE_MS) return
      }
    }
    await Promise.all(Array.from({ length: LANES }, lane))
    over.abort()
    await talking
    await victim.turn()
    if (BY_HAND) process.stderr.write(`seed ${SEED}: ${JSON.stringify(Object.fromEntries(effective))}\n`)
    expect(victim.turns).toBeGreaterThan(2)
    // A slow machine does not come to all kinds within a minute.
    if (done === STEPS) expect([...effective.keys()].toSorted()).toEqual(KINDS)
    expect(done).toBeGreaterThanOrEqual(BY_HAND ? STEPS : LANES)
    command.child.kill('SIGTERM')
    const { code, left, stderr } = await command.ended
    expect({ code, left, uncaught: /uncaught/.test(stderr) }).toEqual({ code: 0, left: 0, uncaught: false })
  },
)
