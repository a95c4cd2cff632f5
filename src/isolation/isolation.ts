import { existsSync } from 'node:fs'
import { StartError } from '../errors.ts'
import { checkCommands, programOf } from './hidden-commands.ts'
import { probe } from './probe.ts'
import type { ProbeResult } from './probe.ts'
import { Sandbox } from './sandbox.ts'
import type { SandboxedCommand } from './sandbox.ts'

export interface BoundaryRules {
  mode: 'none' | 'bubblewrap'
  egress: 'open' | 'none'
  /** Shown to every process beside the system and its own places. */
  paths: { read: readonly string[]; write: readonly string[] }
}

/** What processes must not reach, and how an error names it. */
const CLOSED: Record<Exclude<keyof ProbeResult, 'own_files' | 'loopback'>, string> = {
  host_environment: 'the environment of other processes',
  host_process: 'the process of the host',
  store: 'the store',
  other_tenant: 'the files of another tenant',
  control_socket: 'sockets of the host',
}

/** Puts each process of an agent into a sandbox of its own. */
export class Boundary {
  readonly #sandbox: Sandbox

  constructor(sandbox: Sandbox) {
    this.#sandbox = sandbox
  }

  /** The command that runs this one inside. Throws StartError for what it would need and could not see there. */
  wrap(
    inner: SandboxedCommand,
    { additionalDirectories = [], mcpServers }: { additionalDirectories?: readonly string[]; mcpServers?: object },
  ): { command: string; args: string[] } {
    const sandbox = this.#sandbox
    const whole = { ...inner, write: additionalDirectories }
    if (sandbox.egress === 'none' && inner.env['ANTHROPIC_UNIX_SOCKET'] === undefined)
      throw new StartError(
        'isolation',
        'isolation.egress "none" leaves only the credential proxy as a way to the model, and the proxy does not hold this credential; claude-agent-pool doctor says why',
      )
    checkCommands(sandbox, whole, mcpServers as Readonly<Record<string, unknown>> | undefined)
    return sandbox.wrap(whole)
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
export async function tryBoundary(
  { egress, paths }: Omit<BoundaryRules, 'mode'>,
  places: BoundaryPlaces,
): Promise<Trial> {
  if (process.platform !== 'linux') return { problem: `bubblewrap needs Linux, and this is ${process.platform}` }
  const program = programOf('bwrap', places.path)
  if (program === undefined || !existsSync(program))
    return { problem: 'bwrap is not installed (Debian: apt-get install bubblewrap)' }
  const sandbox = new Sandbox({ program, dataDir: places.dataDir, egress, ...paths })
  try {
    const problem = leakOf(await probe(sandbox, places), egress)
    return problem === undefined ? { boundary: new Boundary(sandbox) } : { problem }
  } catch (cause) {
    const { stderr = '', message } = cause as Error & { stderr?: string }
    return { problem: `bwrap does not work here: ${stderr.trim() || message}`, cause }
  }
}

/** What a probe reached and must not, or did not reach and must; undefined: nothing. */
function leakOf(result: ProbeResult, egress: BoundaryRules['egress']): string | undefined {
  const open = Object.entries(CLOSED).find(([name]) => result[name as keyof ProbeResult])?.[1]
  if (open !== undefined) return `a sandboxed process reached ${open}`
  if (egress === 'none' && result.loopback) return 'a sandboxed process reached the network'
  return result.own_files ? undefined : 'a sandboxed process did not reach its own files'
}

/**
 * The boundary around each process of agents, once a probe has shown that it holds on this machine; undefined for mode `none`.
 * Throws StartError if there is no `bwrap`, if it does not work here, or if something is reachable that must not be.
 */
export async function openBoundary(
  { mode, ...rules }: BoundaryRules,
  places: BoundaryPlaces,
): Promise<Boundary | undefined> {
  if (mode === 'none') return undefined
  const trial = await tryBoundary(rules, places)
  if ('boundary' in trial) return trial.boundary
  throw new StartError(
    'isolation',
    `isolation.mode "bubblewrap": ${trial.problem}. Repair that, or write isolation.mode "none"; docs/isolation.md says what each mode needs`,
    undefined,
    trial.cause === undefined ? {} : { cause: trial.cause },
  )
}
