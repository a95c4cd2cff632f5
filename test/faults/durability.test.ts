import { expect, test } from 'vitest'
import { crashRun } from '../fixtures/crash-run.ts'
import { openSite } from '../fixtures/real-pool.ts'
import { WHOLE } from './assertions.ts'

const KILLS = WHOLE ? 300 : 8

test(
  `Hosts killed at ${KILLS} random moments lose nothing that was acknowledged, and every session goes on`,
  async () => {
    const site = await openSite()
    const report = await crashRun({ dataDir: site.dataDir, url: site.simulator.url, kills: KILLS })
    expect(report).toMatchObject({ kills: KILLS, lost: [], doubled: [], wentOn: report.sessions })
    expect(report.acknowledged).toBeGreaterThan(20)
    expect(report.cutShort).toBeGreaterThan(0)
  },
  KILLS * 9_000,
)
