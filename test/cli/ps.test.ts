import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { ListedWorker } from '../../src/cli/ps/worker-list.ts'
import type { SessionInfo, WorkerDetails } from '../../src/index.ts'
import { proxiesOf } from '../fixtures/credentials.ts'
import { startHost } from '../fixtures/other-host.ts'
import { MODEL, openSite, until } from '../fixtures/real-pool.ts'
import { run } from './command.ts'

const MIB = 2 ** 20

describe('The command ps, beside a running host', () => {
  test('shows every process of every worker: its tree, age, memory and session', async () => {
    const site = await openSite()
    const script = join(site.root, 'stay.sh')
    await writeFile(script, `touch ${site.root}/up\nsleep 306\nexit\n`)
    const agent = { model: MODEL, allowedTools: ['Bash'], spares: { max: 0 }, unboundSpares: { max: 0 } }
    const host = startHost(site, { agents: { a: agent } })
    await host.open()
    await host.ask({ do: 'send', key: 'one', text: `@sim bash sh ${script}` })
    await until(() => access(join(site.root, 'up')))
    const ps = ['ps', '--data-dir', site.dataDir]

    const json = await run([...ps, '--json'])
    expect(json).toMatchObject({ code: 0, stderr: '' })
    const all = (JSON.parse(json.stdout) as ListedWorker[]).filter((worker) => worker.host.pid === host.pid)
    const [mine, proxies] = [
      all.filter(({ id }) => id !== 'credential-proxy'),
      all.filter(({ id }) => id === 'credential-proxy'),
    ]
    const [proxy = 0] = await proxiesOf(site)
    expect(proxies).toMatchObject([{ state: 'running', processes: [{ pid: proxy, ppid: host.pid }] }])
    const [known] = (await host.ask({ do: 'workers' })) as WorkerDetails[]
    expect(mine).toMatchObject([
      { id: known?.id, state: 'running', run: { session: 'one', tenant: 'default', agent: 'a' } },
    ])
    const [worker] = mine
    const [root, ...rest] = worker?.processes ?? []
    expect(root).toMatchObject({ pid: known?.pid, ppid: host.pid, depth: 0 })
    expect(root?.command).toMatch(/^claude /)
    expect(root?.memoryBytes).toBeGreaterThan(20 * MIB)
    expect(root?.ageMs).toBeGreaterThan(0)
    const sleep = rest.find(({ command }) => command === 'sleep 306')
    const parent = rest.find(({ pid }) => pid === sleep?.ppid)
    expect(parent?.command).toBe(`sh ${script}`)
    expect(sleep?.depth).toBe((parent?.depth ?? NaN) + 1)
    for (const { ageMs } of rest) expect(ageMs).toBeLessThanOrEqual(root?.ageMs ?? 0)
    // The pool itself knows the same.
    const pids = (processes: ListedWorker['processes'] = []): number[] => processes.map(({ pid }) => pid)
    expect(pids(known?.processes)).toEqual(pids(worker?.processes))

    const { code, stdout } = await run(ps)
    expect(code).toBe(0)
    const lines = stdout.split('\n')
    const line = lines.find((text) => text.includes(known?.id ?? 'none')) ?? ''
    expect(line).toMatch(new RegExp(`one .* host ${host.pid} .* ${root?.pid} .* [\\d.]+(ms|s|m) .* \\d+ MiB .* claude`))
    expect(lines.find((text) => text.includes(` ${sleep?.pid} `))).toMatch(/ └ sleep 306/)
    expect(lines.find((text) => text.includes(` ${proxy} `))).toMatch(/credential-proxy .* - .* - .* node /)

    // Why its turn is slow is there, too, and in the list of sessions.
    expect(worker?.phase).toMatchObject({ name: 'tool', detail: 'Bash' })
    expect(line).toMatch(/ tool Bash, [\d.]+(ms|s|m) /)
    const sessions = await run(['sessions', 'list', '--data-dir', site.dataDir, '--json'])
    expect((JSON.parse(sessions.stdout) as SessionInfo[])[0]?.phase).toEqual(worker?.phase)
    const list = await run(['sessions', 'list', '--data-dir', site.dataDir])
    expect(list.stdout).toMatch(/ busy +│ tool Bash, [\d.]+(ms|s|m) /)
  })

  test('shows a spare as one', async () => {
    const site = await openSite()
    const host = startHost(site, {
      agents: { a: { model: MODEL, spares: { min: 1, max: 1 }, unboundSpares: { max: 0 } } },
    })
    await host.open()
    await until(async () => {
      const { stdout } = await run(['ps', '--data-dir', site.dataDir])
      const lines = stdout.split('\n').filter((line) => line.includes(`host ${host.pid} `))
      expect(lines).toEqual([
        expect.stringContaining('(spare)') as string,
        expect.stringContaining('credential-proxy') as string,
      ])
    })
  })

  test('tells sessions of different tenants apart, in the data directory that the config names', async () => {
    const site = await openSite()
    const pool = await site.pool()
    for (const tenant of ['default', 'acme']) await pool.warm('one', { agent: 'a', tenant })
    const config = `agents: { a: {} }\ndataDir: ${site.dataDir}\n`
    await writeFile(join(site.root, 'claude-agent-pool.config.yaml'), config)
    const { stdout, stderr, code } = await run(['ps'], { cwd: site.root })
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
    const lineOf = (tenant: string): string => {
      const worker = pool.workers().find((other) => other.tenant === tenant)
      return stdout.split('\n').find((line) => line.includes(worker?.id ?? 'none')) ?? ''
    }
    expect(lineOf('default')).toMatch(/ one +│ a +│/)
    expect(lineOf('acme')).toMatch(/ acme\/one +│ a +│/)
  })
})
