import { readdir } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { Command, run } from './command.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

interface Report {
  paths: Record<string, { firstMessageMs: number; timesFasterThanCold: number; samplesMs: number[] }>
  crash: { error: string; promptsSent: number; turnsInAnswer: number; workerBefore: number; workerAfter: number }
  refusal: { reason: string; retryAfterMs: number }
  processes: { before: number; left: number }
  broken: string[]
}

describe('The command demo', () => {
  test('measures every path, keeps the conversation whole, and leaves nothing behind', async () => {
    const tmp = await temporaryFolder()
    const { code, stdout, stderr, left } = await run(['demo', '--json'], { env: { TMPDIR: tmp } })
    expect({ code, stderr, left }).toEqual({ code: 0, stderr: '', left: 0 })
    const { paths, crash, refusal, processes, broken } = JSON.parse(stdout) as Report
    expect(Object.keys(paths)).toEqual(['cold', 'resumed', 'spare', 'primed', 'live'])
    for (const { firstMessageMs, timesFasterThanCold, samplesMs } of Object.values(paths)) {
      expect(firstMessageMs).toBeGreaterThan(0)
      expect(timesFasterThanCold).toBeGreaterThan(0)
      expect(samplesMs.length).toBeGreaterThanOrEqual(3)
    }
    expect(paths['live']?.timesFasterThanCold).toBeGreaterThan(1)
    expect(crash.error).toBe('WorkerExitedError')
    expect(crash.turnsInAnswer).toBe(crash.promptsSent)
    expect(crash.workerAfter).not.toBe(crash.workerBefore)
    expect(refusal).toMatchObject({ reason: 'turns', retryAfterMs: expect.any(Number) })
    expect(processes.before).toBeGreaterThan(0)
    expect(processes.left).toBe(0)
    expect(broken).toEqual([])
    expect(await readdir(tmp)).toEqual([])
  }, 180_000)

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('closes the pool at %s', async (signal, expected) => {
    const tmp = await temporaryFolder()
    const command = new Command(['demo'], { env: { TMPDIR: tmp } })
    await command.said(/2\. A spare/)
    command.child.kill(signal)
    expect(await command.ended).toMatchObject({ code: expected, signal: null, left: 0 })
    expect(await readdir(tmp)).toEqual([])
  })
})
