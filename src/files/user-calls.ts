import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { Stats } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../clock.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import type { FileCalls } from './calls.ts'

/** A call that a user's file system is asked for. Without an id nothing waits for its answer. */
export interface CallRequest {
  id: number | undefined
  uid: number
  call: keyof FileCalls
  args: unknown[]
}

/** What came of a call. */
export type CallAnswer = { id: number } & ({ value: unknown } | { error: { code?: string; message: string } })

/** Longer than an operation waits for a call: a helper that hangs so long holds up all other tenants. */
const HANG_MS = 60_000

/** Runs as TypeScript from the sources, as JavaScript from the package. */
const script = fileURLToPath(new URL(`./user-child${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))

/** One process that works in the folders of users, with the rights of the user whose turn it is. */
class Helper {
  readonly #child: ChildProcess
  readonly #clock: Clock
  readonly #pending = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #last = 0
  #cancelHang: CancelTimer | undefined
  #answeredAt = 0
  isGone = false

  constructor(clock: Clock) {
    this.#clock = clock
    this.#child = fork(script, [], {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: {},
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      // A signal to the host's terminal is for the host.
      detached: true,
    })
    this.#child.on('message', (answer: CallAnswer) => this.#hear(answer))
    this.#child.once('error', (error) => this.#end(error))
    this.#child.once('exit', (code, signal) => this.#end(new Error(`the helper for files ended (${signal ?? code})`)))
    this.#child.unref()
    this.#child.channel?.unref()
  }

  ask<T>(request: Omit<CallRequest, 'id'>): Promise<T> {
    if (this.isGone) return Promise.reject(ioError('the helper for files has ended'))
    const id = (this.#last += 1)
    if (this.#pending.size === 0) this.#waits()
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject })
    this.#send({ ...request, id })
    return promise
  }

  tell(request: Omit<CallRequest, 'id'>): void {
    if (!this.isGone) this.#send({ ...request, id: undefined })
  }

  close(): void {
    this.isGone = true
    this.#cancelHang?.()
    if (this.#child.connected) this.#child.disconnect()
  }

  #send(request: CallRequest): void {
    this.#child.send(request, (error) => {
      if (error !== null) this.#end(error)
    })
  }

  #waits(): void {
    this.#child.channel?.ref()
    this.#answeredAt = this.#clock.now()
    this.#watch(HANG_MS)
  }

  #watch(delayMs: number): void {
    this.#cancelHang = this.#clock.after(delayMs, () => {
      const left = this.#answeredAt + HANG_MS - this.#clock.now()
      if (left > 0) return this.#watch(left)
      this.#child.kill('SIGKILL')
      this.#end(new Error('the helper for files did not answer'))
    })
  }

  #hear(answer: CallAnswer): void {
    const waiting = this.#pending.get(answer.id)
    if (waiting === undefined) return
    this.#pending.delete(answer.id)
    this.#answeredAt = this.#clock.now()
    if (this.#pending.size === 0) this.#rests()
    if ('value' in answer) waiting.resolve(answer.value)
    else waiting.reject(Object.assign(new Error(answer.error.message), { code: answer.error.code }))
  }

  #rests(): void {
    this.#cancelHang?.()
    this.#child.channel?.unref()
  }

  #end(error: Error): void {
    this.isGone = true
    this.#cancelHang?.()
    const waiting = [...this.#pending.values()]
    this.#pending.clear()
    for (const { reject } of waiting) reject(ioError(error.message))
  }
}

const ioError = (message: string): Error => Object.assign(new Error(message), { code: 'EIO' })

/** What a Stats is without its methods, which no message carries. */
const withMethods = (fields: object): Stats => Object.setPrototypeOf(fields, Stats.prototype) as Stats

/** The calls of one user at one helper. What is open there is gone with that helper. */
function callsAt(helper: Helper, uid: number): FileCalls {
  const ask = <T>(call: keyof FileCalls, ...args: unknown[]): Promise<T> => helper.ask<T>({ uid, call, args })
  return {
    open: (...args) => ask('open', ...args),
    close: (fd) => ask('close', fd),
    drop: (fd) => helper.tell({ uid, call: 'drop', args: [fd] }),
    fstat: async (fd) => withMethods(await ask<object>('fstat', fd)),
    lstat: async (path) => withMethods(await ask<object>('lstat', path)),
    list: (...args) => ask('list', ...args),
    read: async (fd, buffer, position) => {
      const data = await ask<Buffer>('read', fd, buffer.length, position)
      return data.copy(buffer)
    },
    write: (...args) => ask('write', ...args),
    truncate: (...args) => ask('truncate', ...args),
    copyFile: (...args) => ask('copyFile', ...args),
    mkdir: (...args) => ask('mkdir', ...args),
    rmdir: (path) => ask('rmdir', path),
    unlink: (path) => ask('unlink', path),
    rename: (...args) => ask('rename', ...args),
    readlink: (path) => ask('readlink', path),
    symlink: (...args) => ask('symlink', ...args),
    lchown: (...args) => ask('lchown', ...args),
    chmod: (...args) => ask('chmod', ...args),
    fchmod: (...args) => ask('fchmod', ...args),
    mountOf: (fd) => ask('mountOf', fd),
  }
}

/** Gives the calls of the file system the rights of another user. The host must be root. */
export class UserCalls implements Disposable {
  readonly #clock: Clock
  #helper: Helper | undefined

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  /** Calls with the rights of this user, for one operation: they end with the helper process that has begun it. */
  as(uid: number): FileCalls {
    if (this.#helper === undefined || this.#helper.isGone) this.#helper = new Helper(this.#clock)
    return callsAt(this.#helper, uid)
  }

  [Symbol.dispose](): void {
    this.#helper?.close()
    this.#helper = undefined
  }
}
