import { spawn } from 'node:child_process'
import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { ListedWorker } from '../../src/cli/ps/worker-list.ts'
import type { WorkerDetails } from '../../src/index.ts'
import { run } from '../cli/command.ts'
import { identify, isSame, living, signal } from '../faults/procfs.ts'
import type { Identity } from '../faults/procfs.ts'
import { sentinelsOf } from '../faults/witness.ts'
import { proxiesOf } from '../fixtures/credentials.ts'
import { startHost } from '../fixtures/other-host.ts'
import type { OtherHost } from '../fixtures/other-host.ts'
import { MODEL, openSite, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'

interface Report {
  orphans: { pid: number; worker: string; host: number }[]
  ended: number[]
  left: number
}

/** A host with a session `one` in whose turn a command runs. */
async function busyHost(site: Site, name: string): Promise<{ host: OtherHost; dataDir: string }> {
  const [dataDir, script, up] = [name, `${name}.sh`, `${name}.up`].map((file) => join(site.root, file)) as [
    string,
    string,
    string,
  ]
  await writeFile(script, `touch ${up}\nsleep 306\nexit\n`)
  const agent = { model: MODEL, allowedTools: ['Bash'], spares: { max: 0 }, unboundSpares: { max: 0 } }
  const host = startHost(site, { dataDir, agents: { a: agent } })
  await host.open()
  await host.ask({ do: 'send', key: 'one', text: `@sim bash sh ${script}` })
  await until(() => access(up))
  return { host, dataDir }
}

const ownedBy = (host: Identity): number[] => living().flatMap((entry) => (isSame(entry.host, host) ? [entry.pid] : []))

/** Kills the host with its sentinel and its credential proxy stopped, so that no process ends what it leaves. */
async function killUnguarded(host: OtherHost, proxy: Identity): Promise<void> {
  const sentinels = sentinelsOf(identify(host.pid))
  expect(sentinels).toHaveLength(1)
  for (const identity of [...sentinels, proxy]) {
    signal(identity, 'SIGSTOP')
    onTestFinished(() => signal(identity, 'SIGKILL'))
  }
  await host.kill()
}

test('Orphans of a host that died are shown, and doctor ends them and nothing else', async () => {
  const site = await openSite()
  const { host: alive } = await busyHost(site, 'alive')
  const { host: dead, dataDir } = await busyHost(site, 'dead')
  const unmarked = spawn('sleep', ['309'], { detached: true, stdio: 'ignore', cwd: site.root })
  onTestFinished(() => void unmarked.kill('SIGKILL'))
  const [known] = (await dead.ask({ do: 'workers' })) as WorkerDetails[]
  const identities = { dead: identify(dead.pid), alive: identify(alive.pid), unmarked: identify(unmarked.pid ?? 0) }
  const aliveBefore = ownedBy(identities.alive)
  const [proxy] = (await proxiesOf(site)).filter((pid) => ownedBy(identities.dead).includes(pid)).map(identify)
  if (proxy === undefined) throw new Error('the host has no credential proxy')
  await killUnguarded(dead, proxy)

  const orphans = ownedBy(identities.dead)
  expect(orphans.length).toBeGreaterThanOrEqual(4)
  expect(orphans).toEqual(expect.arrayContaining([known?.pid, proxy.pid]))

  const listed = JSON.parse((await run(['ps', '--json', '--data-dir', dataDir])).stdout) as ListedWorker[]
  const of = (pid: number, isProxy = false): ListedWorker | undefined =>
    listed.find(({ id, host }) => host.pid === pid && (id === 'credential-proxy') === isProxy)
  expect(of(dead.pid)).toMatchObject({ id: known?.id, state: 'orphaned', run: { session: 'one' } })
  expect(of(dead.pid)?.processes.map(({ pid }) => pid)).toEqual(known?.processes.map(({ pid }) => pid))
  expect(of(dead.pid, true)).toMatchObject({ state: 'orphaned', processes: [{ pid: proxy.pid }] })
  for (const isProxy of [false, true]) expect(of(alive.pid, isProxy)).toMatchObject({ state: 'running' })
  expect((await run(['ps', '--data-dir', dataDir])).stdout).toMatch(new RegExp(`one .* orphan of ${dead.pid} `))

  for (const flags of [['--dry-run'], ['--reap', '--dry-run']]) {
    const { code, stdout } = await run(['doctor', ...flags, '--json', '--data-dir', dataDir])
    const report = JSON.parse(stdout) as Report
    expect({ code, ended: report.ended }).toEqual({ code: 1, ended: [] })
    const mine = report.orphans.filter(({ host }) => host === dead.pid)
    expect(new Set(mine.map(({ pid }) => pid))).toEqual(new Set(orphans))
    for (const { pid, worker } of mine) expect(worker).toBe(pid === proxy.pid ? 'credential-proxy' : known?.id)
    expect(report.orphans.map(({ host }) => host)).not.toContain(alive.pid)
    expect(ownedBy(identities.dead)).toEqual(orphans)
  }
  const { stdout: shown } = await run(['doctor', '--dry-run', '--data-dir', dataDir])
  expect(shown).toContain(`orphan ${known?.pid}: worker ${known?.id} of host ${dead.pid}\n`)
  expect(shown).toContain(`orphan ${proxy.pid}: credential proxy of host ${dead.pid}\n`)

  const { code, stdout } = await run(['doctor', '--reap', '--json', '--data-dir', dataDir])
  const report = JSON.parse(stdout) as Report
  expect({ code, left: report.left }).toEqual({ code: 0, left: 0 })
  expect(report.ended).toEqual(expect.arrayContaining(orphans))
  expect(ownedBy(identities.dead)).toEqual([])
  expect(ownedBy(identities.alive)).toEqual(aliveBefore)
  expect(identify(identities.unmarked.pid)).toEqual(identities.unmarked)
  expect(await run(['doctor', '--reap', '--data-dir', dataDir])).toMatchObject({
    code: 0,
    stdout: 'orphans: ended 0 processes, 0 left\n',
  })
})
