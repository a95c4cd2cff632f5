import { readFileSync, readdirSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MemoryBox } from '../../src/memory/box.ts'
import type { SizeReport } from '../../src/cli/size/report.ts'
import { Command, run } from './command.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { WHOLE } from '../fixtures/whole.ts'

const MIB = 2 ** 20
const FEW = ['--workers', '2', '--rounds', '2']

/** Processes whose environment names this folder: all that the command starts has its TMPDIR there. */
const livingIn = (path: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(path)
    } catch {
      return false
    }
  })

describe.runIf(process.platform === 'linux')('The command size', () => {
  test('measures an agent with its tools, tells how it goes, and leaves nothing', async () => {
    const cwd = await temporaryFolder()
    const tmp = await temporaryFolder()
    await writeFile(
      join(cwd, 'claude-agent-pool.config.yaml'),
      'agents:\n  builder: { allowedTools: [Bash] }\n  reader: {}\n',
    )
    await writeFile(join(cwd, 'load.yaml'), "default: ['allocate 64 for 1000', 'tokens 5']\n")
    const args = ['size', ...FEW, '--json', '--agent', 'builder', '--scenario', 'load.yaml']
    const { code, stdout, stderr } = await run(args, { cwd, env: { TMPDIR: tmp } })
    expect(stderr).toMatch(/worker 1 of 2 starts\n[^]*turns 3 to 4 of 4\n/)
    const { agent, baseline, start, idle, running, failed, fits, config } = JSON.parse(stdout) as SizeReport
    expect({ code, agent, failed }).toEqual({ code: 0, agent: 'builder', failed: {} })
    expect(baseline.hostBytes).toBeGreaterThan(20 * MIB)
    expect(start.spikeBytes).toBeGreaterThan(40 * MIB)
    expect(running.turns).toBe(4)
    // What the tool holds belongs to its turn, and is given back after it.
    expect(running.medianBytes - idle.medianBytes).toBeGreaterThan(50 * MIB)
    expect(running.p95Bytes).toBeGreaterThanOrEqual(running.medianBytes)
    expect(running.peakBytes).toBeGreaterThanOrEqual(running.p95Bytes)
    expect(fits.length).toBeGreaterThanOrEqual(4)
    expect(config).toMatch(/^limits:\n {2}turns: \d+ /)
    expect(livingIn(tmp)).toEqual([])
    expect(await readdir(tmp)).toEqual([])
    expect(await readdir(cwd)).toHaveLength(2)
  })

  test.runIf(WHOLE)(
    'runs in a real box of the size that is asked for, and removes it',
    async ({ skip }) => {
      const probe = MemoryBox.make(MIB)
      if (probe === undefined) return skip('needs root and a memory cgroup that may be written to')
      const parent = join(probe.path, '..')
      probe.remove()
      const tmp = await temporaryFolder()
      const command = new Command(['size', ...FEW, '--memory', '640MiB'], {
        cwd: await temporaryFolder(),
        env: { TMPDIR: tmp },
      })
      await command.said(/turns 1 to 2/)
      const box = `claude-agent-pool-box.${command.child.pid}.1`
      expect(
        readFileSync(join(parent, box, 'cgroup.procs'), 'latin1')
          .trim()
          .split('\n').length,
      ).toBeGreaterThan(2)
      const { code, stdout } = await command.ended
      expect(stdout).toMatch(/In a real box of 640 MiB, \d+ conversations asking: [1-9]\d* turns at once/)
      expect(stdout).toMatch(/OOM kills: 0/)
      expect(code).toBe(0)
      expect(readdirSync(parent)).not.toContain(box)
      expect(livingIn(tmp)).toEqual([])
    },
    120_000,
  )

  test.for([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('leaves nothing after %s', async ([signal, expected], { skip }) => {
    skip(!WHOLE && signal === 'SIGINT', 'SIGTERM is handled alike')
    const tmp = await temporaryFolder()
    const command = new Command(['size', '--workers', '2', '--rounds', '500'], {
      cwd: await temporaryFolder(),
      env: { TMPDIR: tmp },
    })
    await command.said(/turns 1 to 2 of 1000/)
    expect(livingIn(tmp).length).toBeGreaterThan(2)
    command.child.kill(signal)
    expect(await command.ended).toMatchObject({ code: expected, stdout: '' })
    expect(livingIn(tmp)).toEqual([])
    expect(await readdir(tmp)).toEqual([])
  })

  test.each([
    [['--memory', 'plenty'], '--memory: "plenty" is not a number with a unit'],
    [['--memory', '100MiB'], '--memory: "100MiB" is less than 512MiB'],
    [['--workers', '1'], '--workers: "1" is not a number from 2 to 64'],
    [['--rounds', 'x'], '--rounds: "x" is not a number from 1 to 1000'],
    [['--agent', 'none'], '--agent: there is no agent "none"; known are: assistant'],
    [['--scenario', 'none.yaml'], 'none.yaml'],
  ])('refuses %j with one line', async (args, words) => {
    const { code, stdout, stderr, left } = await run(['size', ...args], { cwd: await temporaryFolder() })
    expect({ code, stdout, left }).toEqual({ code: 2, stdout: '', left: 0 })
    expect(stderr).toContain(`claude-agent-pool: ${words.startsWith('--') ? words : ''}`)
    expect(stderr).toContain(words)
  })
})
