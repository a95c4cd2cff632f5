import { expect, onTestFinished, test } from 'vitest'
import { chaos } from '../../bench/chaos/run.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const SEED = Number(process.env['FAULT_SEED'] ?? 1)

test('Hosts of one database that are killed and stopped, and a database that crashes, lose no event and run no prompt twice', async () => {
  const simulator = await startSimulator({ recordLimit: 0 })
  onTestFinished(() => simulator.close())
  const { verdict, happened } = await chaos({
    dir: await temporaryFolder(),
    modelUrl: simulator.url,
    hosts: 2,
    sessions: 2,
    faults: 3,
    seed: SEED,
    kinds: ['kill', 'stop', 'database crash'],
  })
  const { acknowledged, effects, ...wrong } = verdict
  expect(happened).toHaveLength(3)
  expect(acknowledged).toBeGreaterThan(0)
  expect(effects).toBeGreaterThan(0)
  expect(wrong).toEqual({ lost: 0, doubled: 0, gaps: 0, twice: 0, overlaps: 0, unended: [], processesLeft: 0 })
}, 300_000)
