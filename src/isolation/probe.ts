import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { thisHost } from '../process/marker.ts'
import { BRIDGE_PORT } from '../egress/rules.ts'
import type { SandboxedCommand } from './sandbox.ts'

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
  /** Programs that every process needs. */
  programs: readonly string[]
}

/** What worked from inside. */
export type ProbeResult = Record<
  | 'host_environment'
  | 'host_process'
  | 'host_signal'
  | 'store'
  | 'other_tenant'
  | 'control_socket'
  | 'loopback'
  | 'programs'
  | 'own_files',
  boolean
> & { /** Undefined if there is none to try. */ bridge?: boolean }

/** Runs as TypeScript from the sources, as JavaScript from the package. */
const script = fileURLToPath(
  new URL(`./probe-child${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
)

const LONGEST_MS = 20_000

/** What the end of a bridge says. */
const BRIDGED = 'bridged'

/** What the process of a probe is started with. */
type Probing = Omit<SandboxedCommand, 'sharesNetwork'>

interface Kind {
  /** A bridge from its loopback is tried, too. */
  bridged?: boolean
  /** The users of the canary tenants: of the one that attacks, and of the other one. */
  users?: { own: number; foreign: number }
}

interface Around {
  dataDir: string
  storeFile: string
  programs?: readonly string[]
}

/**
 * Attacks the host and a canary tenant from a process that `run` starts, and tells what worked. `run` gets the socket at the end of the
 * bridge, and resolves with what the process has printed. Rejects as `run` does.
 */
export async function probe(
  { bridged = false, users }: Kind,
  { dataDir, storeFile, programs = [] }: Around,
  run: (inner: Probing, bridge: string) => Promise<string>,
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
  if (users !== undefined) {
    chmodSync(folder, 0o711)
    give(own, dirname(ownFile), ownFile)(users.own)
    give(dirname(foreignFile), foreignFile)(users.foreign)
  }
  const servers = [createServer(), createServer(), createServer()] as const
  const outside = spawn('sh', ['-c', 'read -r line'], { env: { PROBE: mark }, stdio: ['pipe', 'ignore', 'ignore'] })
  outside.on('error', () => undefined)
  try {
    const socket = join(sockets, 's.sock')
    const ownSocket = join(own, 'config', 'b.sock')
    const port = await listen(servers, socket, bridged ? ownSocket : undefined)
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
      bridgePort: bridged ? BRIDGE_PORT : undefined,
      programs,
    }
    const env = { CLAUDE_CONFIG_DIR: dirname(ownFile), HOME: own }
    const args = [script, JSON.stringify(targets)]
    return JSON.parse(await run({ command: process.execPath, args, cwd: own, env }, ownSocket)) as ProbeResult
  } finally {
    outside.stdin.destroy()
    for (const server of servers) server.close()
    for (const path of [folder, sockets]) rmSync(path, { recursive: true, force: true })
  }
}

/** What the command prints. Rejects with what it says of its failure. */
export async function printed(
  { command, args }: Pick<Probing, 'command' | 'args'>,
  options: { env: NodeJS.ProcessEnv; cwd?: string },
): Promise<string> {
  const bounds = { timeout: LONGEST_MS, killSignal: 'SIGKILL' } as const
  return (await promisify(execFile)(command, args, { ...options, ...bounds })).stdout
}

/** Folders first: they are for their owner alone. */
const give =
  (...paths: string[]) =>
  (uid: number): void => {
    for (const path of paths) {
      chmodSync(path, 0o700)
      chownSync(path, uid, uid)
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
