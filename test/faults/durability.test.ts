import { expect, test } from 'vitest'
import { crashRun } from '../fixtures/crash-run.ts'
import { openSite } from '../fixtures/real-pool.ts'

test('Hosts killed at 20 random moments lose nothing that was acknowledged, and every session goes on', async () => {
  const site = await openSite()
  const report = await crashRun({ dataDir: site.dataDir, url: site.simulator.url, kills: 20 })
  expect(report).toMatchObject({ kills: 20, lost: [], doubled: [], wentOn: report.sessions })
  expect(report.acknowledged).toBeGreaterThan(20)
  expect(report.cutShort).toBeGreaterThan(0)
}, 180_000)
