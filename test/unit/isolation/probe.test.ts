import { once } from 'node:events'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { BRIDGE_PORT } from '../../../src/egress/rules.ts'
import { printed, probe } from '../../../src/isolation/probe.ts'
import type { ProbeResult, ProbeTargets } from '../../../src/isolation/probe.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

type Kind = Parameters<typeof probe>[0]

/** Probes a process that nothing holds back, whose targets may be others. */
async function probed(kind: Kind, change: (targets: ProbeTargets) => Partial<ProbeTargets> = () => ({})) {
  const dataDir = await temporaryFolder()
  const storeFile = join(dataDir, 'pool.sqlite')
  writeFileSync(storeFile, '')
  const programs = [process.execPath]
  let seen: ProbeTargets | undefined
  const result = await probe(
    kind,
    { dataDir, storeFile, programs },
    ({ command, args: [script = '', text = '{}'], env }) => {
      seen = JSON.parse(text) as ProbeTargets
      return printed({ command, args: [script, JSON.stringify({ ...seen, ...change(seen) })] }, { env })
    },
  )
  return { result, targets: seen as ProbeTargets, left: readdirSync(dataDir) }
}

const all = (value: boolean): ProbeResult => ({
  host_environment: value,
  host_process: value,
  host_signal: value,
  store: value,
  other_tenant: value,
  control_socket: value,
  loopback: value,
  programs: value,
  own_files: value,
})

/** Says this to everybody who connects. */
async function listening(says: string): Promise<number> {
  const server = createServer((socket) => void socket.end(says)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

test.runIf(process.platform === 'linux')('A process that nothing holds back reaches everything', async () => {
  const port = await listening('bridged')
  const { result, targets, left } = await probed({ bridged: true }, () => ({ bridgePort: port }))
  expect(result).toEqual({ ...all(true), bridge: true })
  expect(targets.bridgePort).toBe(BRIDGE_PORT)
  expect([left, existsSync(targets.socket)]).toEqual([['pool.sqlite'], false])
})

test.runIf(process.platform === 'linux')('What is not there is not reached', async () => {
  const port = await listening('')
  const { result } = await probed({ bridged: true }, ({ hostStart }) => ({
    mark: 'no process has this',
    hostStart: `${hostStart}1`,
    storeFile: '/nowhere/store',
    foreignFile: '/nowhere/foreign',
    ownFile: '/nowhere/own',
    socket: '/nowhere/socket',
    port: 1,
    bridgePort: port,
    programs: [process.execPath, '/nowhere/claude'],
  }))
  expect(result).toEqual({ ...all(false), bridge: false })
})

test.runIf(process.getuid?.() === 0)('Canary tenants own their files, and others can only pass by', async () => {
  const dataDir = await temporaryFolder()
  const facts: unknown[] = []
  const look = (path: string): void => {
    const { uid, gid, mode } = statSync(path)
    facts.push([uid, gid, (mode & 0o777).toString(8)])
  }
  await probe({ users: { own: 50_009, foreign: 50_008 } }, { dataDir, storeFile: '' }, ({ args, cwd }) => {
    const { foreignFile, ownFile, bridgePort } = JSON.parse(args[1] ?? '') as ProbeTargets
    expect(bridgePort).toBeUndefined()
    for (const path of [join(cwd, '..'), cwd, ownFile, foreignFile]) look(path)
    return Promise.resolve('{}')
  })
  expect(facts).toEqual([
    [0, 0, '711'],
    [50_009, 50_009, '700'],
    [50_009, 50_009, '700'],
    [50_008, 50_008, '700'],
  ])
})

test('A probe that fails leaves nothing', async () => {
  const dataDir = await temporaryFolder()
  const fails = probe({ bridged: true }, { dataDir, storeFile: '' }, () => Promise.reject(new Error('no sandbox')))
  await expect(fails).rejects.toThrow('no sandbox')
  expect(readdirSync(dataDir)).toEqual([])
})
