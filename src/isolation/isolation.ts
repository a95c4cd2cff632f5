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

/**
 * The boundary around each process of agents, once a probe has shown that it holds on this machine; undefined for mode `none`.
 * Throws StartError if there is no `bwrap`, if it does not work here, or if something is reachable that must not be.
 */
export async function openBoundary(
  { mode, egress, paths }: BoundaryRules,
  places: { dataDir: string; storeFile: string; path: string | undefined },
): Promise<Boundary | undefined> {
  if (mode === 'none') return undefined
  const program = programOf('bwrap', places.path)
  if (program === undefined || !existsSync(program))
    throw unavailable('bwrap is not installed (Debian: apt-get install bubblewrap)')
  const { dataDir } = places
  const sandbox = new Sandbox({ program, dataDir, egress, ...paths })
  const result = await probe(sandbox, places).catch((error: Error & { stderr?: string }) => {
    throw unavailable(`bwrap does not work here: ${(error.stderr ?? '').trim() || error.message}`, error)
  })
  const open = Object.entries(CLOSED).find(([name]) => result[name as keyof ProbeResult])?.[1]
  if (open !== undefined) throw unavailable(`a sandboxed process reached ${open}`)
  if (egress === 'none' && result.loopback) throw unavailable('a sandboxed process reached the network')
  if (!result.own_files) throw unavailable('a sandboxed process did not reach its own files')
  return new Boundary(sandbox)
}

const unavailable = (problem: string, cause?: Error): StartError =>
  new StartError(
    'isolation',
    `isolation.mode "bubblewrap": ${problem}. Repair that, or write isolation.mode "none"; docs/isolation.md says what each mode needs`,
    undefined,
    cause === undefined ? {} : { cause },
  )
