/*
 * Runs inside a sandbox and tries what must not work there. Run as: node probe-child.js JSON. Prints what worked, as JSON.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, readFileSync, readdirSync } from 'node:fs'
import { connect } from 'node:net'
import type { NetConnectOpts } from 'node:net'
import type { ProbeTargets } from './probe.ts'

const targets = JSON.parse(process.argv[2] ?? '{}') as ProbeTargets

function works(attempt: () => unknown): boolean {
  try {
    attempt()
    return true
  } catch {
    return false
  }
}

const connects = (options: NetConnectOpts): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(options)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

const hears = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('data', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('end', () => resolve(false))
  })

const isMark = (environ: string): boolean => environ.includes(targets.mark)

const environments = (): string[] =>
  readdirSync('/proc').flatMap((name) => {
    try {
      return /^\d+$/.test(name) ? [readFileSync(`/proc/${name}/environ`, 'latin1')] : []
    } catch {
      return []
    }
  })

/** Another process may have this pid here. */
function isHost(): boolean {
  try {
    return readFileSync(`/proc/${targets.hostPid}/stat`, 'latin1').includes(targets.hostStart)
  } catch {
    return false
  }
}

process.stdout.write(
  JSON.stringify({
    host_environment: environments().some(isMark),
    host_process: isHost(),
    host_signal: isHost() && works(() => execFileSync('sh', ['-c', `kill -0 ${targets.hostPid}`], { stdio: 'ignore' })),
    store: works(() => readFileSync(targets.storeFile)),
    other_tenant: works(() => readFileSync(targets.foreignFile)),
    control_socket: await connects({ path: targets.socket }),
    loopback: await connects({ host: '127.0.0.1', port: targets.port }),
    programs: targets.programs.every((path) => works(() => accessSync(path, constants.R_OK))),
    own_files: works(() => readFileSync(targets.ownFile)),
    ...(targets.bridgePort === undefined ? {} : { bridge: await hears(targets.bridgePort) }),
  }),
)
