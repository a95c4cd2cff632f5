import { dirname } from 'node:path'
import { StartError } from '../errors.ts'
import { allows, placeOfUrl } from '../egress/rules.ts'
import type { EgressLists } from '../egress/rules.ts'
import { bridged, proxyVariables } from './bridge.ts'
import type { Network } from './confinement.ts'
import { checkCommands, programOf } from './hidden-commands.ts'
import { probe } from './probe.ts'
import type { ProbeResult } from './probe.ts'
import { Sandbox } from './sandbox.ts'
import type { SandboxedCommand } from './sandbox.ts'

export interface BoundaryRules {
  /** What it must be able to do. */
  network: Network
  /** Shown to every process beside the system and its own places. */
  paths: { read: readonly string[]; write: readonly string[] }
}

/** What processes must not reach, and how an error names it. */
const CLOSED: Record<Exclude<keyof ProbeResult, 'own_files' | 'loopback' | 'bridge'>, string> = {
  host_environment: 'the environment of other processes',
  host_process: 'the process of the host',
  store: 'the store',
  other_tenant: 'the files of another tenant',
  control_socket: 'sockets of the host',
}

/** What a sandboxed process reaches beside its own places. */
export interface Confinement {
  network: 'open' | 'model' | { socket: string; allow: EgressLists }
}

type Command = Omit<SandboxedCommand, 'write' | 'sharesNetwork'>

/** Puts each process of an agent into a sandbox of its own. */
export class Boundary {
  /** What it was tried for. */
  readonly network: Network
  readonly #sandbox: Sandbox
  readonly #socat: string | undefined

  /** `socat`: where it is, if it was tried. */
  constructor(sandbox: Sandbox, network: Network, socat: string | undefined) {
    this.network = network
    this.#sandbox = sandbox
    this.#socat = socat
  }

  /** The command that runs this one inside. Throws StartError for what it would need and could not see there. */
  wrap(
    inner: Command,
    { additionalDirectories = [], mcpServers }: { additionalDirectories?: readonly string[]; mcpServers?: object },
    { network }: Confinement,
  ): { command: string; args: string[]; env: SandboxedCommand['env'] } {
    const whole = { ...inner, write: additionalDirectories, sharesNetwork: network === 'open' }
    if (network !== 'open' && inner.env['ANTHROPIC_UNIX_SOCKET'] === undefined)
      throw new StartError(
        'isolation',
        'isolation.egress leaves only the credential proxy as a way to the model, and the proxy does not hold this credential; claude-agent-pool doctor says why',
      )
    const reaches = (url: string): boolean =>
      network === 'open' ||
      (network !== 'model' && URL.canParse(url) && allows(network.allow, placeOfUrl(new URL(url))))
    checkCommands(this.#sandbox, whole, mcpServers as Readonly<Record<string, unknown>> | undefined, reaches)
    if (typeof network === 'string') return { ...this.#sandbox.wrap(whole), env: inner.env }
    const socat = this.#socat
    if (socat === undefined)
      throw new StartError(
        'isolation',
        'this process needs socat, and the pool was created when no agent did: isolation.egress lists no place, and no agent of the options has remotes or MCP servers with headers',
      )
    const beside = bridged(whole, { socat, socket: network.socket })
    return { ...this.#sandbox.wrap(whole, beside), env: { ...inner.env, ...proxyVariables(network.allow) } }
  }
}

/** Where a boundary is tried. */
export interface BoundaryPlaces {
  dataDir: string
  storeFile: string
  path: string | undefined
}

/** What a trial of the boundary has shown: it holds, or why it cannot be used here. */
export type Trial = { boundary: Boundary } | { problem: string; cause?: unknown }

/** Makes the boundary and attacks it from inside. */
export async function tryBoundary({ network, paths }: BoundaryRules, places: BoundaryPlaces): Promise<Trial> {
  if (process.platform !== 'linux') return { problem: `bubblewrap needs Linux, and this is ${process.platform}` }
  const [program, socat] = ['bwrap', 'socat'].map((name) => programOf(name, places.path))
  if (program === undefined) return { problem: 'bwrap is not installed (Debian: apt-get install bubblewrap)' }
  if (network === 'bridged' && socat === undefined)
    return {
      problem:
        'isolation.egress.allow, remotes and MCP servers with headers need socat, which is not installed (Debian: apt-get install socat)',
    }
  const bridge = network === 'bridged' ? socat : undefined
  const read = bridge === undefined ? paths.read : [...paths.read, dirname(bridge)]
  const sandbox = new Sandbox({ program, dataDir: places.dataDir, read, write: paths.write })
  try {
    const problem = leakOf(await probe(sandbox, { network, socat: bridge }, places), network)
    return problem === undefined ? { boundary: new Boundary(sandbox, network, bridge) } : { problem }
  } catch (cause) {
    const { stderr = '', message } = cause as Error & { stderr?: string }
    return { problem: `bwrap does not work here: ${stderr.trim() || message}`, cause }
  }
}

/** What a probe reached and must not, or did not reach and must; undefined: nothing. */
function leakOf(result: ProbeResult, network: Network): string | undefined {
  const open = Object.entries(CLOSED).find(([name]) => result[name as keyof ProbeResult])?.[1]
  if (open !== undefined) return `a sandboxed process reached ${open}`
  if (network !== 'open' && result.loopback) return 'a sandboxed process reached the network'
  if (!result.own_files) return 'a sandboxed process did not reach its own files'
  return result.bridge === false ? 'a sandboxed process did not reach its HTTP proxy through socat' : undefined
}

/**
 * The boundary around processes of agents, once a probe has shown that it holds on this machine.
 * Throws StartError if there is no `bwrap`, if it does not work here, or if something is reachable that must not be.
 */
export async function openBoundary(rules: BoundaryRules, places: BoundaryPlaces): Promise<Boundary> {
  const trial = await tryBoundary(rules, places)
  if ('boundary' in trial) return trial.boundary
  throw new StartError(
    'isolation',
    `isolation.mode "bubblewrap": ${trial.problem}. Repair that, or write isolation.mode "none"; docs/isolation.md says what each mode needs`,
    undefined,
    trial.cause === undefined ? {} : { cause: trial.cause },
  )
}
