import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { readdir } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { DatabaseSync, backup } from '../sqlite.ts'
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import { ConfigError, FilesError, HostRunningError, StartError, StoreError, storeError } from '../errors.ts'
import type { Owner } from '../files/places.ts'
import type { Problems } from '../files/problem.ts'
import { TenantFiles } from '../files/tenant-files.ts'
import { UserCalls } from '../files/user-calls.ts'
import type { UserRange } from '../options/isolation.ts'
import { makePrivateFile } from '../private-file.ts'
import { UPLOADS, folderOf } from '../tenant-folder.ts'
import { closedBy, isForbidden } from './access.ts'
import { checkDisk } from './disk-check.ts'
import type { DiskState, PoolFiles, TenantPlaces } from './store.ts'
import { TenantUsers } from './tenant-users.ts'
import { unwritable } from './unwritable.ts'

/** Everything below the data directory is for its owner only. */
const PRIVATE = 0o700

/** Others pass through to what they own, and see no names. */
const PASSABLE = 0o711

/** Says which users tenants have. */
const USERS_FILE = 'users.json'

/** A tenant's folder that nothing durable is in. */
const TEMPORARY: ReadonlySet<string> = new Set(['tmp'])

/** The file of the store in a data directory. */
export const STORE_FILE = 'pool.sqlite'

/** What servers keep beside the store, unless that is shared by several hosts. */
export const API_FILE = 'api.sqlite'

const TENANTS = 'tenants'

/** Tells this data directory from those of other hosts. */
const PLACE_FILE = 'place'

/** 108 on Linux and 104 on macOS, with the byte that ends it. */
const LONGEST_SOCKET_PATH = 103

/** The folder of a data directory that tells which workers there are. */
export const RUN_DIR = 'run'

function unusable(path: string, cause: unknown): StoreError {
  const who = isForbidden(cause) ? closedBy(path) : undefined
  return storeError(`the data directory ${path} cannot be used${who === undefined ? '' : `: ${who}`}`, cause)
}

/** Where the files of a tenant are. */
export const tenantDirectory = (dataDir: string, tenant: string): string => join(dataDir, TENANTS, folderOf(tenant))

/** Step by step: in a file system that makes no directories (`/proc`), Node's `recursive` never returns. */
function makeDirectory(path: string): void {
  const missing: string[] = []
  for (let at = path; !existsSync(at); at = dirname(at)) missing.unshift(at)
  for (const directory of missing) {
    try {
      mkdirSync(directory, { mode: PRIVATE })
    } catch (error) {
      // Another process made it meanwhile, or it is a dangling link, which shows when it is used.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

/**
 * Takes the rights of all others from a directory of this user. Throws StoreError for one of another user, who could put
 * anything in the place of what is in it, and for one that all users share, such as `/tmp`.
 */
function makeOwn(path: string): void {
  const own = process.getuid?.()
  if (own === undefined) return
  const { uid, mode } = statSync(path)
  if (uid !== own)
    throw new StoreError(
      `the data directory ${path} belongs to user ${uid}, and this process runs as user ${own}; give it a directory of its own, or change the owner`,
    )
  if ((mode & 0o1000) !== 0)
    throw new StoreError(
      `the data directory ${path} is one that users share (sticky); give the pool a directory of its own`,
    )
  if ((mode & 0o077) !== 0) chmodSync(path, PRIVATE)
}

const namesIn = (path: string): Promise<string[]> =>
  readdir(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw storeError(`${path} cannot be read`, error)
  })

/**
 * The CLI normalises the path of its config dir to NFC, and would write outside of a data directory in NFD. On macOS both
 * are the same path.
 */
function checkComposed(path: string): void {
  if (process.platform === 'darwin' || path === path.normalize('NFC')) return
  throw new ConfigError(
    'dataDir',
    `${path} is in decomposed Unicode (NFD), but claude writes to the composed path (NFC); rename the directory`,
  )
}

/** The directory that a host owns: its store, its tenants' config dirs and workspaces, and the lock that keeps others out. */
export class DataDir implements PoolFiles {
  readonly path: string
  /** What other processes must say to be answered by the host: only this user can read it. */
  readonly controlSecret: string = randomBytes(32).toString('hex')
  /** The way to what tenants have made below it. */
  readonly tenantFiles: TenantFiles
  /** Works in the folders of tenants that have users of their own. */
  readonly #userCalls = new UserCalls()
  #users: TenantUsers | undefined
  /** Directories of tenants that get another owner. */
  readonly #giving = new Map<string, Promise<void>>()
  /** The way to what they have uploaded. */
  readonly #uploads: TenantFiles
  readonly #lock: DatabaseSync
  readonly #clock: Pick<Clock, 'wall'>
  /** Directories of tenants that are being removed. */
  readonly #removing = new Map<string, Promise<void>>()

  /** Makes the directory if need be, and takes it. Throws ConfigError, HostRunningError while another host has it, else StoreError. */
  constructor(path: string, clock: Pick<Clock, 'wall'> = systemClock) {
    this.#clock = clock
    this.path = resolve(path)
    checkComposed(this.path)
    const ownerOf = (name: string): Owner | undefined => {
      const uid = ownerAt(join(this.#tenants, name))
      return uid === undefined ? undefined : { uid, calls: this.#userCalls.as(uid) }
    }
    this.tenantFiles = new TenantFiles(this.#tenants, { ownerOf })
    this.#uploads = new TenantFiles(join(this.path, UPLOADS))
    try {
      makeDirectory(this.path)
      makeOwn(this.path)
      makePrivateFile(join(this.path, 'host.lock'))
      // The kernel drops this lock with its process, however that ends: no stale lock is ever left.
      this.#lock = new DatabaseSync(join(this.path, 'host.lock'), { timeout: 0 })
    } catch (error) {
      if (error instanceof StoreError) throw error
      throw unusable(this.path, unwritable(join(this.path, 'host.lock')) ?? error)
    }
    try {
      this.#lock.exec('BEGIN EXCLUSIVE')
    } catch (error) {
      this.#lock.close()
      throw this.#taken(error)
    }
    try {
      // What a host that died had on disk for slow readers is of no use to anybody.
      rmSync(this.spoolDir, { recursive: true, force: true })
      makePrivateFile(this.#ownerFile)
      const { controlPath: control, controlSecret: secret } = this
      writeFileSync(this.#ownerFile, JSON.stringify({ pid: process.pid, control, secret }))
    } catch (error) {
      this.release()
      throw storeError(`the data directory ${this.path} cannot be used`, error)
    }
  }

  get storeFile(): string {
    return this.storeFileIn(this.path)
  }

  /** Where other processes read which workers there are. */
  get runDir(): string {
    return join(this.path, RUN_DIR)
  }

  /** Where other processes ask the host: a socket in the directory, or beside those of others where its path is too long for one. */
  get controlPath(): string {
    const name = createHash('sha256').update(this.path).digest('hex').slice(0, 16)
    if (process.platform === 'win32') return `\\\\.\\pipe\\claude-agent-pool-${name}`
    const path = join(this.runDir, 'control.sock')
    if (Buffer.byteLength(path) <= LONGEST_SOCKET_PATH) return path
    return join(tmpdir(), `claude-agent-pool-${process.getuid?.()}`, `${name}.sock`)
  }

  /** Where processes of agents reach the credential proxy: in the directory, or elsewhere where its path is too long for a socket. */
  get socketDir(): string {
    const path = join(this.path, 'sockets')
    if (Buffer.byteLength(join(path, 'w-12345678', 'api.sock')) <= LONGEST_SOCKET_PATH) return path
    const name = createHash('sha256').update(this.path).digest('hex').slice(0, 16)
    return join(tmpdir(), `claude-agent-pool-${process.getuid?.()}-${name}`)
  }

  get spoolDir(): string {
    return join(this.path, 'spool')
  }

  /** The name of this directory among those of other hosts: the machine's, and an id that the directory keeps. Throws StoreError. */
  get place(): string {
    const path = join(this.path, PLACE_FILE)
    try {
      if (!existsSync(path)) writeFileSync(path, randomBytes(8).toString('hex'), { mode: 0o600 })
      return placeOf(this.path) as string
    } catch (error) {
      throw storeError(`${path} cannot be used`, error)
    }
  }

  storeFileIn(path: string): string {
    return join(path, STORE_FILE)
  }

  /**
   * Copies the files of all tenants, and databases beside the store, into another data directory. What goes away meanwhile is left
   * out; what cannot be copied is noted.
   */
  async copyFiles(path: string, problems: Problems): Promise<void> {
    try {
      for (const name of await readdir(this.path)) {
        if (!name.endsWith('.sqlite') || name === STORE_FILE) continue
        using database = new DatabaseSync(join(this.path, name), { readOnly: true })
        await backup(database, join(path, name))
      }
      const tenants = join(path, TENANTS)
      mkdirSync(tenants, { mode: PRIVATE })
      for (const name of await namesIn(this.#tenants))
        await copied(this.tenantFiles, { from: join(this.#tenants, name), to: join(tenants, name) }, problems)
      const uploads = join(path, UPLOADS)
      for (const name of await namesIn(join(this.path, UPLOADS))) {
        mkdirSync(uploads, { recursive: true, mode: PRIVATE })
        await copied(this.#uploads, { from: join(this.path, UPLOADS, name), to: join(uploads, name) }, problems)
      }
    } catch (error) {
      throw storeError(`the backup ${path} cannot be written`, error)
    }
  }

  checkDisk({ thorough, tenant }: { thorough: boolean; tenant?: string }): Promise<DiskState> {
    return checkDisk(tenant === undefined ? this.path : join(this.#tenants, folderOf(tenant)), { thorough })
  }

  async sizeOf(tenant: string, problems: Problems): Promise<number> {
    const uploaded = await this.#uploads.size(join(this.path, UPLOADS, folderOf(tenant)), problems)
    return uploaded + (await this.tenantFiles.size(join(this.#tenants, folderOf(tenant)), problems))
  }

  async removeTenant(tenant: string, problems: Problems): Promise<void> {
    await this.#removeRoot(join(this.#tenants, folderOf(tenant)), problems)
    await this.#uploads.remove(join(this.path, UPLOADS, folderOf(tenant)), problems)
  }

  async removeUnknownTenants(
    known: ReadonlySet<string>,
    { before, dryRun, problems }: { before: number; dryRun: boolean; problems: Problems },
  ): Promise<number> {
    const folders = new Set([...known].map(folderOf))
    let removed = 0
    for (const name of await namesIn(this.#tenants)) {
      const root = join(this.#tenants, name)
      // Checked and taken in one go: a user of the directory has recorded its use before, or waits until it is gone.
      const found = lstatSync(root, { throwIfNoEntry: false })
      if (folders.has(name) || found === undefined || found.mtimeMs >= before) continue
      const failed = problems.count
      if (!dryRun) {
        const removing = this.#removeRoot(root, problems).finally(() => this.#removing.delete(root))
        this.#removing.set(root, removing)
        await removing
      }
      if (problems.count === failed) removed += 1
    }
    return removed
  }

  /** Lets the users of tenants pass to what is theirs, if they know its name, or keeps them out. Nothing else in the directory is open to them. */
  letUsersPass(pass: boolean): void {
    makeDirectory(this.#tenants)
    for (const path of [this.path, this.#tenants]) chmodSync(path, pass ? PASSABLE : PRIVATE)
  }

  /** From now on each tenant has a user of its own, out of this range. Throws StoreError. */
  giveUsers(range: UserRange): void {
    const owners = readdirSync(this.#tenants).flatMap((name) => ownerAt(join(this.#tenants, name)) ?? [])
    this.#users = new TenantUsers(join(this.path, USERS_FILE), range, owners)
  }

  placesOf(tenant: string): TenantPlaces {
    const folder = folderOf(tenant)
    const root = join(this.#tenants, folder)
    const owner = this.#users?.known(folder)
    return {
      ...(owner === undefined ? {} : { owner }),
      home: join(root, 'home'),
      configDir: join(root, 'config'),
      tmpDir: join(root, 'tmp'),
      workspaces: join(root, 'workspaces'),
      earlier: join(root, 'earlier'),
    }
  }

  async makePlaces(tenant: string): Promise<TenantPlaces> {
    const root = join(this.#tenants, folderOf(tenant))
    const removing = this.#removing.get(root)
    if (removing !== undefined) await removing.catch(() => undefined)
    this.#noteUse(root)
    try {
      makeDirectory(this.#tenants)
      await this.#giveTo(root, this.#users?.of(folderOf(tenant)))
      const places = this.placesOf(tenant)
      const { home, configDir, tmpDir, workspaces, earlier } = places
      const names = [home, configDir, tmpDir, workspaces, earlier].map((place) => basename(place))
      await this.tenantFiles.makeFolders(root, names)
      return places
    } catch (error) {
      if (error instanceof FilesError || error instanceof StartError) throw error
      throw storeError(`the directories of tenant "${tenant}" cannot be made`, error)
    }
  }

  /** Makes a tenant's directory that of its user, or the host's. What is there already, from a backup or another mode, becomes its. */
  async #giveTo(root: string, user: number | undefined): Promise<void> {
    const own = process.getuid?.()
    const to = user ?? own
    if (to === undefined || process.geteuid?.() !== 0) return
    const found = lstatSync(root, { throwIfNoEntry: false })
    if (found?.uid === to) return
    if (found === undefined) {
      if (user === undefined) return
      mkdirSync(root, { mode: PRIVATE })
      return chownSync(root, to, to)
    }
    const giving =
      this.#giving.get(root) ??
      this.tenantFiles.giveTo(root, { from: found.uid, to }).finally(() => this.#giving.delete(root))
    this.#giving.set(root, giving)
    await giving
  }

  /** Removes the directory of a tenant: what is in it with the rights of its user, then the directory itself. */
  async #removeRoot(root: string, problems: Problems): Promise<void> {
    if (ownerAt(root) !== undefined) {
      for (const { name } of await this.tenantFiles.list(root))
        await this.tenantFiles.remove(join(root, name), problems)
      lchownSync(root, process.getuid?.() ?? 0, process.getgid?.() ?? 0)
    }
    await this.tenantFiles.remove(root, problems)
    if (!existsSync(root)) this.#users?.forget(basename(root))
  }

  /** Gives the directory back. */
  release(): void {
    this.#userCalls[Symbol.dispose]()
    this.tenantFiles.close()
    if (!this.#lock.isOpen) return
    rmSync(this.#ownerFile, { force: true })
    this.#lock.exec('ROLLBACK')
    this.#lock.close()
  }

  get #tenants(): string {
    return join(this.path, TENANTS)
  }

  /** At once, so that a look for unknown tenants finds it used. */
  #noteUse(root: string): void {
    const now = this.#clock.wall() / 1_000
    try {
      lutimesSync(root, now, now)
    } catch {
      // It is not there yet, or nothing can be written, and so nothing is removed.
    }
  }

  get #ownerFile(): string {
    return join(this.path, 'host.json')
  }

  #taken(cause: unknown): Error {
    if (!/locked|busy/i.test((cause as Error).message)) {
      return storeError(`the data directory ${this.path} cannot be locked`, cause)
    }
    const pid = this.#ownerPid()
    const who = pid === undefined ? 'another process' : `process ${pid}`
    return new HostRunningError(
      `${who} already runs a pool on ${this.path}; end it first, or give this pool another dataDir`,
      pid,
    )
  }

  #ownerPid(): number | undefined {
    try {
      const { pid } = JSON.parse(readFileSync(this.#ownerFile, 'utf8')) as { pid?: number }
      return pid
    } catch {
      return undefined
    }
  }
}

/** The user who owns a tenant's directory; undefined: the host, or there is none. The host alone can give one to others, as root. */
function ownerAt(root: string): number | undefined {
  if (process.geteuid?.() !== 0) return undefined
  const uid = lstatSync(root, { throwIfNoEntry: false })?.uid
  return uid === process.getuid?.() ? undefined : uid
}

/** One that cannot be copied keeps no other one back. */
async function copied(
  files: TenantFiles,
  { from, to }: { from: string; to: string },
  problems: Problems,
): Promise<void> {
  try {
    await files.copyOut(from, to, { problems, except: TEMPORARY })
  } catch (error) {
    problems.take(error)
  }
}

/** The name of a data directory among those of other hosts; undefined if no host with a shared store has run there. */
export function placeOf(dataDir: string): string | undefined {
  try {
    return `${hostname()}/${readFileSync(join(dataDir, PLACE_FILE), 'utf8').trim()}`
  } catch {
    return undefined
  }
}

/** Where the host of a data directory can be asked, and with which secret. */
export interface ControlPlace {
  path: string
  /** Hosts of earlier releases ask for none. */
  secret: string | undefined
}

/** Where the host of a data directory can be asked; undefined if there was none since it ended in order. */
export function controlOf(dataDir: string): ControlPlace | undefined {
  try {
    const { control, secret } = JSON.parse(readFileSync(join(dataDir, 'host.json'), 'utf8')) as {
      control?: string
      secret?: string
    }
    return control === undefined ? undefined : { path: control, secret }
  } catch {
    return undefined
  }
}
