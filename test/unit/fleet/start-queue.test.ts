import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readAdmission } from '../../../src/options/admission.ts'
import { Gate } from '../../../src/admission/gate.ts'
import type { Permit } from '../../../src/admission/gate.ts'
import { StartQueue } from '../../../src/fleet/start-queue.ts'
import type { StartPriority } from '../../../src/fleet/start-queue.ts'
import { FakeClock } from '../../../src/testing/clock.ts'

const gate = new Gate({ turns: 1, turnsPerTenant: 1, admission: readAdmission(undefined), clock: new FakeClock() })
const permit: Permit = gate.permitStart('default')

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

test('waiting users go first, then workers asked for ahead, then spares; each in the order they came', async () => {
  const launcher = new StartQueue(1)
  const begun: string[] = []
  const first = Promise.withResolvers<void>()
  const all = [launcher.launch(permit, 'spare', () => first.promise)]
  for (const priority of ['spare', 'ahead', 'turn'] as StartPriority[]) {
    for (const number of [1, 2]) {
      all.push(
        launcher.launch(permit, priority, async () => {
          begun.push(`${priority} ${number}`)
        }),
      )
    }
  }
  expect(launcher.facts).toEqual({ starting: 1, waiting: 6 })
  first.resolve()
  await Promise.all(all)
  expect(begun).toEqual(['turn 1', 'turn 2', 'ahead 1', 'ahead 2', 'spare 1', 'spare 2'])
  expect(launcher.facts).toEqual({ starting: 0, waiting: 0 })
})

test('what a user has come to wait for goes behind the users that wait already, and before all else', async () => {
  const launcher = new StartQueue(1)
  const begun: string[] = []
  const first = Promise.withResolvers<void>()
  const note = (name: string) => async () => void begun.push(name)
  const [a, b] = [{}, {}]
  const all = [
    launcher.launch(permit, 'spare', () => first.promise),
    launcher.launch(permit, 'ahead', note('ahead a'), a),
    launcher.launch(permit, 'ahead', note('ahead b'), b),
    launcher.launch(permit, 'turn', note('turn')),
  ]
  launcher.promote(b)
  launcher.promote({})
  all.push(launcher.launch(permit, 'turn', note('late user')))
  first.resolve()
  await Promise.all(all)
  expect(begun).toEqual(['turn', 'ahead b', 'late user', 'ahead a'])
})

test('a start that throws gives its place back, and its caller the error', async () => {
  const launcher = new StartQueue(1)
  const failing = launcher.launch(permit, 'turn', () => Promise.reject(new Error('no such file')))
  const next = launcher.launch(permit, 'turn', async () => 'started')
  await expect(failing).rejects.toThrow('no such file')
  await expect(next).resolves.toBe('started')
  const broken = launcher.launch(permit, 'turn', () => {
    throw new Error('broken')
  })
  await expect(broken).rejects.toThrow('broken')
  expect(launcher.facts).toEqual({ starting: 0, waiting: 0 })
})

test('never more than so many start at once, and every start ends', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(
        fc.record({
          priority: fc.constantFrom<StartPriority>('turn', 'ahead', 'spare'),
          rounds: fc.integer({ min: 1, max: 3 }),
          fails: fc.boolean(),
        }),
        { maxLength: 20 },
      ),
      async (concurrent, starts) => {
        const launcher = new StartQueue(concurrent)
        let running = 0
        let most = 0
        const outcomes = await Promise.allSettled(
          starts.map(({ priority, rounds, fails }) =>
            launcher.launch(permit, priority, async () => {
              most = Math.max(most, (running += 1))
              for (let round = 0; round < rounds; round += 1) await turnOfTheLoop()
              running -= 1
              if (fails) throw new Error('failed')
            }),
          ),
        )
        expect(most).toBe(Math.min(concurrent, starts.length))
        expect(outcomes.map(({ status }) => status === 'rejected')).toEqual(starts.map(({ fails }) => fails))
        expect(launcher.facts).toEqual({ starting: 0, waiting: 0 })
      },
    ),
    { numRuns: 50 },
  )
})
