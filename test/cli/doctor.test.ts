import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { run } from './command.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { WHOLE } from '../fixtures/whole.ts'

interface Report {
  checks: { check: string; verdict: string; says: string; advice?: string }[]
  errors: number
  warnings: number
}

const found = ({ checks }: Report, name: string): Report['checks'][number] | undefined =>
  checks.find(({ check }) => check === name)

describe('The command doctor', () => {
  test('checks everything, says what to do, and exits with 1 only when something must be mended', async () => {
    const { code, stdout, stderr, left } = await run(['doctor', '--json'], { cwd: await temporaryFolder() })
    expect({ stderr, left }).toEqual({ stderr: '', left: 0 })
    const report = JSON.parse(stdout) as Report
    const machine = ['memory', 'cgroups', 'file descriptors', 'processes', 'user namespaces', 'setpriv']
    const installed = [
      'node',
      'Agent SDK',
      'claude',
      'config',
      'credential',
      'environment',
      'isolation',
      'key',
      'key shown',
    ]
    const all = installed.concat(machine, 'data directory', 'clock', 'orphans')
    expect(report.checks.map(({ check }) => check)).toEqual(all)
    for (const { verdict, says, advice } of report.checks) {
      expect(says).not.toBe('')
      expect(advice === undefined).toBe(verdict === 'ok')
    }
    for (const name of ['node', 'Agent SDK', 'claude', 'config', 'environment', 'data directory', 'clock'])
      expect(found(report, name)).toMatchObject({ verdict: 'ok' })
    expect(found(report, 'claude')?.says).toMatch(/^\d+\.\d+\.\d+/)
    expect(found(report, 'credential')).toMatchObject({ verdict: 'warning' })
    const count = (verdict: string): number => report.checks.filter((check) => check.verdict === verdict).length
    expect(report).toMatchObject({ errors: count('error'), warnings: count('warning') })
    // Another test may have left orphans just now, which its host's sentinel is about to end.
    expect(code).toBe(report.errors === 0 ? 0 : 1)
  })

  test('never shows the key', async () => {
    const cwd = await temporaryFolder()
    for (const key of ['sk-ant-secret', 'sk-ant-secret\n']) {
      const { stdout, stderr } = await run(['doctor'], { cwd, env: { ANTHROPIC_API_KEY: key } })
      expect(stdout).toContain('ANTHROPIC_API_KEY')
      expect(stdout + stderr).not.toContain('secret')
    }
  })

  test('names what must be mended and how', async () => {
    const cwd = await temporaryFolder()
    await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), 'agents: { a: {} }\nlimits: { memory: plenty }\n')
    await writeFile(join(cwd, 'taken'), '')
    const { code, stdout } = await run(['doctor', '--data-dir', 'taken'], { cwd })
    expect(code).toBe(1)
    expect(stdout).toMatch(/^ERROR +config +claude-agent-pool\.config\.yaml: line 2: limits\.memory: "plenty"/m)
    expect(stdout).toMatch(/^ERROR +data directory +\S+taken cannot be written to\n +→ /m)
    expect(stdout).toMatch(/\d errors?, \d warnings?\n$/)
  })

  test('starts the MCP servers of agents, and names one that does not answer', async () => {
    const cwd = await temporaryFolder()
    const config = {
      agents: {
        a: { mcpServers: { deaf: { command: 'sleep', args: ['1000'] } } },
        b: { mcpServers: { gone: { command: '/not/there' } } },
        c: {},
      },
      starts: { mcpTimeout: '2s' },
    }
    await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), JSON.stringify(config))
    const { stdout, left } = await run(['doctor', '--json'], { cwd })
    const finding = found(JSON.parse(stdout) as Report, 'MCP servers')
    expect(finding).toMatchObject({ verdict: 'error', advice: expect.stringContaining('starts.mcpTimeout') })
    expect(finding?.says).toMatch(/^"deaf" of agent a: .*timed out after 2000ms; "gone" of agent b: .+/)
    expect(left).toBe(0)
  })

  test.runIf(WHOLE)('counts the MCP servers that answer', async () => {
    const cwd = await temporaryFolder()
    const good = fileURLToPath(new URL('../fixtures/asking-mcp-server.ts', import.meta.url))
    const shop = { command: process.execPath, args: [good] }
    const config = { agents: { a: { mcpServers: { shop } } }, starts: { mcpTimeout: '60s' } }
    await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), JSON.stringify(config))
    const { stdout } = await run(['doctor'], { cwd })
    expect(stdout).toMatch(/^ok +MCP servers +1 answers$/m)
  })

  test('looks at the data directory of the config', async () => {
    const cwd = await temporaryFolder()
    await mkdir(join(cwd, 'kept'))
    await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), 'agents: { a: {} }\ndataDir: ./kept\n')
    const { stdout } = await run(['doctor', '--json'], { cwd })
    expect(found(JSON.parse(stdout) as Report, 'data directory')?.says).toContain(join(cwd, 'kept'))
  })
})
