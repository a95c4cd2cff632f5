import { dirname } from 'node:path'
import { StartError } from '../errors.ts'
import type { UserRange } from '../options/isolation.ts'
import { allows, placeOfUrl } from '../egress/rules.ts'
import { bridged, proxyVariables } from './bridge.ts'
import type { BoundaryPlaces, Confinement, Wrapped } from './boundary.ts'
import type { Mode, Network } from './confinement.ts'
import { checkCommands, programOf } from './hidden-commands.ts'
import { leakOf } from './leak.ts'
import { printed, probe } from './probe.ts'
import { Sandbox } from './sandbox.ts'
import type { SandboxedCommand } from './sandbox.ts'
import { tryUsers } from './users.ts'
import type { UserBoundary } from './users.ts'

export interface BoundaryRules {
  /** The modes that may be used, the best one first. */
  modes: readonly Mode[]
  /** For the mode `user`. */
  uids: UserRange
  /** What it must be able to do. */
  network: Network
  /** Shown to every process beside the system and its own places. */
  paths: { read: readonly string[]; write: readonly string[] }
}

type Command = Omit<SandboxedCommand, 'write' | 'sharesNetwork'>

/** Puts each process of an agent into a sandbox of its own. */
export class SandboxBoundary {
  readonly mode = 'bubblewrap'
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
  ): Wrapped {
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
    if (typeof network === 'string') return { ...this.#sandbox.wrap(whole), env: inner.env, isSandbox: true }
    const socat = this.#socat
    if (socat === undefined)
      throw new StartError(
        'isolation',
        'this process needs socat, and the pool was created when no agent did: isolation.egress lists no place, and no agent of the options has remotes or MCP servers with headers',
      )
    const beside = bridged(whole, { socat, socket: network.socket })
    const env = { ...inner.env, ...proxyVariables(network.allow) }
    return { ...this.#sandbox.wrap(whole, beside), env, isSandbox: true }
  }
}

/** What a trial of the boundary has shown: it holds, or why it cannot be used here. */
export type Trial = { boundary: Boundary } | { problem: string; cause?: unknown }

/** Around the processes of agents. */
export type Boundary = SandboxBoundary | UserBoundary

/** Tries the modes in their order, until one holds. */
export async function tryBoundary(rules: BoundaryRules, places: BoundaryPlaces): Promise<Trial> {
  const problems: string[] = []
  let cause: unknown
  for (const mode of rules.modes) {
    const trial = mode === 'user' ? await tryUsers(rules.uids, places) : await trySandbox(rules, places)
    if ('boundary' in trial) return trial
    problems.push(trial.problem)
    cause ??= trial.cause
  }
  return { problem: problems.join('; '), cause }
}

/** Agents that come later may need a bridge that those of the options do not: it is tried first if its program is there. */
async function trySandbox(rules: BoundaryRules, places: BoundaryPlaces): Promise<Trial> {
  if (rules.network === 'bridged' || programOf('socat', places.path) === undefined) return trySandboxFor(rules, places)
  const trial = await trySandboxFor({ ...rules, network: 'bridged' }, places)
  return 'boundary' in trial ? trial : trySandboxFor(rules, places)
}

/** Makes the sandbox and attacks the host from inside. */
async function trySandboxFor({ network, paths }: BoundaryRules, places: BoundaryPlaces): Promise<Trial> {
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
    const { dataDir, storeFile } = places
    const result = await probe({ bridged: bridge !== undefined }, { dataDir, storeFile }, (command, socket) => {
      const inner = { ...command, sharesNetwork: network === 'open' }
      const beside = bridge === undefined ? inner : bridged(inner, { socat: bridge, socket })
      return printed(sandbox.wrap(inner, beside), { env: inner.env })
    })
    const problem = leakOf(result, network)
    return problem === undefined ? { boundary: new SandboxBoundary(sandbox, network, bridge) } : { problem }
  } catch (cause) {
    const { stderr = '', message } = cause as Error & { stderr?: string }
    return { problem: `bwrap does not work here: ${stderr.trim() || message}`, cause }
  }
}

/**
 * The boundary around processes of agents, once a probe has shown that it holds on this machine.
 * Throws StartError if none of the modes works here, or if something is reachable that must not be.
 */
export async function openBoundary(rules: BoundaryRules, places: BoundaryPlaces): Promise<Boundary> {
  const trial = await tryBoundary(rules, places)
  if ('boundary' in trial) return trial.boundary
  throw new StartError(
    'isolation',
    `isolation.mode "${rules.modes.join('" or "')}": ${trial.problem}. Repair that, or write isolation.mode "none"; docs/isolation.md says what each mode needs`,
    undefined,
    trial.cause === undefined ? {} : { cause: trial.cause },
  )
}
