import { expect, test } from 'vitest'
import { TrafficReport } from '../../../src/egress/traffic.ts'
import type { Traffic } from '../../../src/egress/traffic.ts'
import { FakeClock } from '../../../src/testing/index.ts'

const passed = { sentBytes: 1, receivedBytes: 2, outcome: 'passed' } as const

test('connections to a place are added up, and told every five seconds', async () => {
  const clock = new FakeClock()
  const told: Traffic[][] = []
  const report = new TrafficReport(clock, (traffic) => told.push(traffic))
  report.add({ host: 'a.example', port: 443 }, passed)
  report.add({ host: 'a.example', port: 443 }, passed)
  report.add(
    { host: 'b.example', port: 80 },
    { sentBytes: 0, receivedBytes: 0, outcome: 'refused', problem: 'not listed' },
  )
  await clock.advance(4_999)
  expect(told).toEqual([])
  await clock.advance(1)
  const nothing = { refused: 0, failed: 0 }
  expect(told).toEqual([
    [
      { place: 'a.example:443', connections: 2, sentBytes: 2, receivedBytes: 4, ...nothing },
      {
        place: 'b.example:80',
        connections: 1,
        sentBytes: 0,
        receivedBytes: 0,
        ...nothing,
        refused: 1,
        problem: 'not listed',
      },
    ],
  ])
  await clock.advance(60_000)
  report.flush()
  expect(told).toHaveLength(1)
})

test('a worker that asks for many places fills 21 lines, not more', () => {
  const told: Traffic[][] = []
  const report = new TrafficReport(new FakeClock(), (traffic) => told.push(traffic))
  for (let port = 1; port <= 1_000; port += 1) report.add({ host: 'a.example', port }, passed)
  report.flush()
  expect(told.flat()).toHaveLength(21)
  expect(told.flat().at(-1)).toMatchObject({ place: '(others)', connections: 980 })
})
