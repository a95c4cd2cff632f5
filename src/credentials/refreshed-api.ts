import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { CancelTimer, Clock } from '../clock.ts'
import { ConfigError } from '../errors.ts'
import { CREDENTIAL } from '../options/api.ts'
import type { ApiOptions, CredentialKind, RefreshOptions } from '../options/api.ts'
import { parseDuration } from '../units.ts'

/** A command that takes longer is ended. */
const COMMAND_MS = 30_000

const LARGEST_ANSWER = 64 * 1024

/** What a command says of its failure is told so far. */
const COMPLAINT = 300

/** After a failure it is tried again so soon. */
const RETRY_MS = 30_000

/** Stands where a credential is to come: without any, the host's own would be used in its place. */
const NOT_READ = 'not-read-yet'

interface Read {
  as: CredentialKind
  value: string
}

interface Listeners {
  /** There is another credential. */
  renewed: () => void
  trouble: (message: string, error: unknown) => void
}

/** Whose credential it is: a tenant's, or the pool's, which has no name. */
type Holder = string | undefined

const pathOf = (holder: Holder): string => (holder === undefined ? 'api.refresh' : `api.tenants.${holder}.refresh`)

const sourcesOf = ({ refresh, tenants = {} }: ApiOptions): Map<Holder, RefreshOptions> => {
  const all: [Holder, RefreshOptions | undefined][] = [
    [undefined, refresh],
    ...Object.entries(tenants).map(([tenant, own]): [Holder, RefreshOptions | undefined] => [tenant, own.refresh]),
  ]
  return new Map(all.flatMap(([holder, source]) => (source === undefined ? [] : [[holder, source]])))
}

const isSame = (a: RefreshOptions | undefined, b: RefreshOptions): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Reads a credential. Rejects with a sentence that does not hold it. */
async function readFrom({ command, file, as = 'key' }: RefreshOptions): Promise<Read> {
  const text = await (command === undefined ? readFile(file ?? '', 'utf8') : printedBy(command))
  const value = text.trim()
  if (CREDENTIAL.test(value)) return { as, value }
  const from = command === undefined ? `the file ${file}` : `the command ${command[0]}`
  throw new Error(
    `${from} ${value === '' ? 'gave nothing' : 'gave something that is no credential: it has spaces or several lines'}`,
  )
}

async function printedBy([program = '', ...args]: readonly string[]): Promise<string> {
  try {
    const options = { timeout: COMMAND_MS, killSignal: 'SIGKILL', maxBuffer: LARGEST_ANSWER } as const
    return (await promisify(execFile)(program, args, options)).stdout
  } catch (error) {
    // The message of the error quotes the arguments, and has what was printed.
    const { code, killed, stderr = '' } = error as NodeJS.ErrnoException & { killed?: boolean; stderr?: string }
    const how = killed === true ? `did not end within ${COMMAND_MS / 1_000} s` : `failed (${code ?? 'unknown'})`
    throw new Error(`the command ${program} ${how}${stderr === '' ? '' : `: ${stderr.trim().slice(-COMPLAINT)}`}`)
  }
}

/** How the model is reached, with credentials that commands and files give anew. */
export class RefreshedApi {
  readonly #clock: Clock
  readonly #read = new Map<Holder, Read>()
  readonly #timers = new Map<Holder, CancelTimer>()
  #api: ApiOptions
  #listeners: Listeners = { renewed: () => undefined, trouble: () => undefined }
  #closed = false

  constructor(clock: Clock, api: ApiOptions) {
    this.#clock = clock
    this.#api = api
  }

  /** Reads all credentials for the first time. Rejects with ConfigError for one that cannot be read. */
  async begin(): Promise<void> {
    await Promise.all(
      [...sourcesOf(this.#api)].map(async ([holder, source]) => {
        try {
          this.#read.set(holder, await readFrom(source))
        } catch (error) {
          throw new ConfigError(pathOf(holder), (error as Error).message, { cause: error })
        }
        this.#readLater(holder, source, everyMs(source))
      }),
    )
  }

  attach(listeners: Listeners): void {
    this.#listeners = listeners
  }

  /** The options with the credentials that hold now. */
  get current(): ApiOptions {
    const { refresh, tenants = {}, ...api } = this.#api
    const own = Object.entries(tenants).map(([tenant, { refresh: source, ...given }]) => [
      tenant,
      { ...given, ...(source === undefined ? {} : this.#credential(tenant, source)) },
    ])
    return {
      ...api,
      ...(refresh === undefined ? {} : this.#credential(undefined, refresh)),
      tenants: Object.fromEntries(own) as NonNullable<ApiOptions['tenants']>,
    }
  }

  /** From now on these options hold. A credential stays until its new source has given another one. */
  update(api: ApiOptions): void {
    const [before, after] = [sourcesOf(this.#api), sourcesOf(api)]
    this.#api = api
    for (const holder of before.keys()) if (!after.has(holder)) this.#forget(holder)
    for (const [holder, source] of after) if (!isSame(before.get(holder), source)) this.#readLater(holder, source, 0)
  }

  close(): void {
    this.#closed = true
    for (const holder of this.#timers.keys()) this.#cancel(holder)
  }

  #credential(holder: Holder, { as = 'key' }: RefreshOptions): Partial<Record<CredentialKind, string>> {
    const read = this.#read.get(holder) ?? { as, value: NOT_READ }
    return { [read.as]: read.value }
  }

  #readLater(holder: Holder, source: RefreshOptions, delayMs: number): void {
    if (this.#closed) return
    this.#cancel(holder)
    this.#timers.set(
      holder,
      this.#clock.after(delayMs, () => void this.#readAgain(holder, source)),
    )
  }

  async #readAgain(holder: Holder, source: RefreshOptions): Promise<void> {
    const isStale = (): boolean => this.#closed || !isSame(sourcesOf(this.#api).get(holder), source)
    try {
      const read = await readFrom(source)
      if (isStale()) return
      const before = this.#read.get(holder)
      this.#read.set(holder, read)
      this.#readLater(holder, source, everyMs(source))
      if (before?.value !== read.value || before.as !== read.as) this.#listeners.renewed()
    } catch (error) {
      if (isStale()) return
      this.#readLater(holder, source, Math.min(everyMs(source), RETRY_MS))
      const { message } = error as Error
      this.#listeners.trouble(`${pathOf(holder)}: ${message}; the credential of before is used on`, error)
    }
  }

  #forget(holder: Holder): void {
    this.#cancel(holder)
    this.#read.delete(holder)
  }

  #cancel(holder: Holder): void {
    this.#timers.get(holder)?.()
    this.#timers.delete(holder)
  }
}

const everyMs = ({ every = '1m' }: RefreshOptions): number => parseDuration('api.refresh.every', every)

/** The same options with credentials as they are read now. Rejects with ConfigError. */
export async function withCredentials(clock: Clock, api: ApiOptions): Promise<ApiOptions> {
  const refreshed = new RefreshedApi(clock, api)
  try {
    await refreshed.begin()
    return refreshed.current
  } finally {
    refreshed.close()
  }
}
