import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { thisHost } from '../process/marker.ts'
import { BRIDGE_PORT } from '../egress/rules.ts'
import { bridged } from './bridge.ts'
import type { Network } from './confinement.ts'
import type { Sandbox } from './sandbox.ts'

/** What the probe tries. */
export interface ProbeTargets {
  hostPid: number
  hostStart: string
  /** A text in the environment of a process outside. */
  mark: string
  storeFile: string
  foreignFile: string
  ownFile: string
  socket: string
  port: number
  /** Where the bridge listens inside; undefined: there is none. */
  bridgePort: number | undefined
}

/** What worked from inside. */
export type ProbeResult = Record<
  'host_environment' | 'host_process' | 'store' | 'other_tenant' | 'control_socket' | 'loopback' | 'own_files',
  boolean
> & { /** Undefined if there is none to try. */ bridge?: boolean }

/** Runs as TypeScript from the sources, as JavaScript from the package. */
const script = fileURLToPath(
  new URL(`./probe-child${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
)

const LONGEST_MS = 20_000

/** What the end of a bridge says. */
const BRIDGED = 'bridged'

/** Attacks the host from a sandboxed process with canaries, and tells what worked. Rejects with what `bwrap` says. */
export async function probe(
  sandbox: Sandbox,
  { network, socat }: { network: Network; socat: string | undefined },
  { dataDir, storeFile }: { dataDir: string; storeFile: string },
): Promise<ProbeResult> {
  const folder = mkdtempSync(join(dataDir, 'probe-'))
  // The path of a socket is short.
  const sockets = mkdtempSync(join(tmpdir(), 'claude-agent-pool-probe-'))
  const mark = randomBytes(16).toString('hex')
  const own = join(folder, 'own')
  const [ownFile, foreignFile] = [join(own, 'config', 'canary'), join(folder, 'foreign', 'canary')]
  for (const file of [ownFile, foreignFile]) {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, mark)
  }
  const servers = [createServer(), createServer(), createServer()] as const
  const outside = spawn('sh', ['-c', 'read -r line'], { env: { PROBE: mark }, stdio: ['pipe', 'ignore', 'ignore'] })
  outside.on('error', () => undefined)
  try {
    const socket = join(sockets, 's.sock')
    const ownSocket = join(own, 'config', 'b.sock')
    const port = await listen(servers, socket, socat === undefined ? undefined : ownSocket)
    const { pid: hostPid, startTime: hostStart } = thisHost
    const targets: ProbeTargets = {
      hostPid,
      hostStart,
      mark,
      storeFile,
      foreignFile,
      ownFile,
      socket,
      port,
      bridgePort: socat === undefined ? undefined : BRIDGE_PORT,
    }
    const env = { CLAUDE_CONFIG_DIR: dirname(ownFile), HOME: own }
    const inner = {
      command: process.execPath,
      args: [script, JSON.stringify(targets)],
      cwd: own,
      env,
      sharesNetwork: network === 'open',
    }
    const beside = socat === undefined ? inner : bridged(inner, { socat, socket: ownSocket })
    const { command, args } = sandbox.wrap(inner, beside)
    const { stdout } = await promisify(execFile)(command, args, { env, timeout: LONGEST_MS, killSignal: 'SIGKILL' })
    return JSON.parse(stdout) as ProbeResult
  } finally {
    outside.stdin.destroy()
    for (const server of servers) server.close()
    for (const path of [folder, sockets]) rmSync(path, { recursive: true, force: true })
  }
}

/** Listens at a socket, on loopback, and at the end of a bridge; the port. */
async function listen(
  [atSocket, onLoopback, atBridge]: readonly [Server, Server, Server],
  socket: string,
  bridge: string | undefined,
): Promise<number> {
  atSocket.on('connection', (connection) => connection.destroy()).listen(socket)
  onLoopback.on('connection', (connection) => connection.destroy()).listen(0, '127.0.0.1')
  atBridge.on('connection', (connection) => connection.on('error', () => undefined).end(BRIDGED))
  if (bridge !== undefined) atBridge.listen(bridge)
  const listening = [atSocket, onLoopback, ...(bridge === undefined ? [] : [atBridge])]
  await Promise.all(listening.map((server) => once(server, 'listening')))
  return (onLoopback.address() as AddressInfo).port
}
