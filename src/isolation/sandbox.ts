import { existsSync, realpathSync } from 'node:fs'
import { dirname, isAbsolute, join, relative, sep } from 'node:path'
import { StartError } from '../errors.ts'
import { nodeFolder, systemFolders } from './system-folders.ts'
import { viewsOf } from './views.ts'

/** A command as it would run without a sandbox. */
export interface SandboxedCommand {
  command: string
  args: readonly string[]
  cwd: string
  env: Readonly<Record<string, string | undefined>>
  /** Further folders that it may change, such as the SDK's `additionalDirectories`. */
  write?: readonly string[]
  /** Without: a network of its own, from which nothing leads out. */
  sharesNetwork: boolean
}

export interface SandboxRules {
  /** The path of `bwrap`. */
  program: string
  /** Hidden, but for what belongs to the tenant of the process. */
  dataDir: string
  /** Shown to every process, beside the system and Node. */
  read: readonly string[]
  write: readonly string[]
}

/** No privileges, and no way to get some; the kernel ends all of it with the host. */
const BOUNDARY = [
  '--unshare-user',
  '--unshare-pid',
  '--unshare-ipc',
  '--unshare-uts',
  '--unshare-cgroup-try',
  '--disable-userns',
  '--die-with-parent',
  '--cap-drop',
  'ALL',
]

/** Bytes of memory that files in `/tmp` may take, and in `/dev/shm`. TMPDIR is on the disk. */
const TMP_BYTES = 256 * 2 ** 20

const sized = (path: string, bytes: number): string[] => ['--size', String(bytes), '--tmpfs', path]

const OWN_SYSTEM = ['--proc', '/proc', '--dev', '/dev', '--symlink', '/tmp', '/var/tmp'].concat(
  ...['/tmp', '/dev/shm'].map((path) => sized(path, TMP_BYTES)),
)

/** What `OWN_SYSTEM` makes. */
const RESERVED = ['/proc', '/dev', '/tmp', '/var/tmp']

/** The folder of a tenant in which its sessions have their workspaces. */
const WORKSPACES = 'workspaces'

/** For sockets: no room for files. */
const SOCKETS_BYTES = 2 ** 20

/** The CLI's sockets are named after its pid, which is the same in every sandbox. */
const CLI_SOCKETS = 'cc-socks'

/** True if `path` is `folder` or lies in it. */
export function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path)
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way))
}

/** Runs commands behind bubblewrap: they see the system, their own places, and nothing else of the machine. */
export class Sandbox {
  readonly #rules: SandboxRules
  readonly #system = systemFolders()
  readonly #node = nodeFolder(process.execPath)

  constructor(rules: SandboxRules) {
    this.#rules = rules
  }

  /** The command that runs this one inside, or another one in its place. Throws StartError for places that must not be shown. */
  wrap(
    inner: SandboxedCommand,
    { command, args }: Pick<SandboxedCommand, 'command' | 'args'> = inner,
  ): { command: string; args: string[] } {
    const { program } = this.#rules
    this.#check(inner)
    return { command: program, args: [...this.#boundary(inner), '--chdir', inner.cwd, '--', command, ...args] }
  }

  /** True for a path that processes of this kind can see. */
  shows(path: string, inner: SandboxedCommand): boolean {
    const shown = [
      ...this.#system.map(({ at }) => at),
      ...this.#readable(inner),
      ...this.#writable(inner),
      ...own(inner),
    ]
    return shown.some((folder) => isWithin(path, folder))
  }

  #boundary(inner: SandboxedCommand): string[] {
    const { dataDir } = this.#rules
    const tmpDir = own(inner).find((path) => path === inner.env['TMPDIR'])
    const outside = this.#writable(inner).filter((path) => !isWithin(path, dataDir))
    return [
      ...BOUNDARY,
      ...(inner.sharesNetwork ? [] : ['--unshare-net']),
      ...this.#system.flatMap(({ at, from, isLink }) => [isLink ? '--symlink' : '--ro-bind', from, at]),
      ...OWN_SYSTEM,
      ...this.#readable(inner).flatMap((path) => ['--ro-bind', path, path]),
      ...outside.flatMap(bound),
      // A folder that was shown may hold the data directory: it is covered, and the own places come above.
      '--tmpfs',
      dataDir,
      ...own(inner).flatMap(bound),
      ...(tmpDir === undefined ? [] : sized(join(tmpDir, CLI_SOCKETS), SOCKETS_BYTES)),
      ...this.#views(inner),
      // What holds the places above is in memory: a process could fill that.
      ...['/', '/dev', dataDir].flatMap((path) => ['--remount-ro', path]),
    ]
  }

  /** A workspace that the pool has made for the session has its folders in the places that programs expect. */
  #views(inner: SandboxedCommand): string[] {
    if (!isWithin(inner.cwd, join(tenantFolder(inner), WORKSPACES))) return []
    const system = this.#system.map(({ at }) => at)
    const taken = [
      ...system,
      ...RESERVED,
      this.#rules.dataDir,
      ...this.#readable(inner),
      ...this.#writable(inner),
      ...own(inner),
    ]
    const mounted = {
      covers: (path: string) => taken.some((folder) => isWithin(path, folder)),
      holds: (path: string) => taken.some((folder) => isWithin(folder, path)),
    }
    return viewsOf(real(inner.cwd), mounted, inner.cwd)
  }

  #readable({ command, args }: SandboxedCommand): string[] {
    const programs = [command, args[0] ?? ''].filter((word) => isAbsolute(word) && existsSync(word))
    const folders = programs.flatMap((path) => [dirname(path), dirname(realpathSync(path))])
    const wanted = [...folders, this.#node, ...this.#rules.read]
    return [...new Set(wanted)].filter((path) => !this.#system.some(({ at }) => isWithin(path, at)))
  }

  #writable({ cwd, write = [] }: SandboxedCommand): string[] {
    return [...new Set([...this.#rules.write, cwd, ...write])]
  }

  /** A directory is shown whole: the whole machine, or what other tenants have, must not be. */
  #check(inner: SandboxedCommand): void {
    const { dataDir } = this.#rules
    for (const path of [...this.#writable(inner), ...tenantPlaces(inner)]) {
      const place = real(path)
      const problem =
        dirname(place) === place
          ? 'it is the whole machine'
          : isWithin(place, real(dataDir)) && !isWithin(place, real(tenantFolder(inner)))
            ? 'it is not of this tenant'
            : undefined
      if (problem !== undefined)
        throw new StartError(
          'isolation',
          `${path} cannot be shown to a sandboxed process: ${problem}; choose another cwd`,
        )
    }
  }
}

/** Where a path leads, through links that an agent may have made. */
const real = (path: string): string => (existsSync(path) ? realpathSync(path) : path)

/** Shows a folder to be written to, in its own place. */
const bound = (path: string): string[] => ['--bind', real(path), path]

const tenantFolder = ({ env }: SandboxedCommand): string => dirname(env['CLAUDE_CONFIG_DIR'] ?? '/')

/** What the process has in its tenant's folder: home, settings, TMPDIR and its directory. */
function tenantPlaces(inner: SandboxedCommand): string[] {
  const { cwd, env } = inner
  return [env['HOME'], env['CLAUDE_CONFIG_DIR'], env['TMPDIR'], cwd].filter(
    (path) => path !== undefined && isWithin(path, tenantFolder(inner)),
  ) as string[]
}

/** The places of the process itself: those in its tenant's folder, and its way to the model. */
function own(inner: SandboxedCommand): string[] {
  const socket = inner.env['ANTHROPIC_UNIX_SOCKET']
  return [...new Set([...tenantPlaces(inner), ...(socket === undefined ? [] : [dirname(socket)])])]
}
