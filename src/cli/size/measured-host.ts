import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError, PoolError } from '../../errors.ts'
import type { PoolErrorCode } from '../../errors.ts'
import type { MemoryBox } from '../../memory/box.ts'
import type { SizeHost } from './host.ts'
import { WorkerTrees } from './trees.ts'
import { stopped } from '../shared/stop.ts'

interface Answer {
  answer?: unknown
  error?: { message: string; code: PoolErrorCode | undefined }
}

/** The host that `size` measures, from its parent's side: a process of its own, in the box if there is one. */
export class MeasuredHost implements AsyncDisposable {
  /** Its workers, seen from outside. */
  readonly trees: WorkerTrees
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown[]>
  readonly #stop: AbortSignal

  constructor(tmp: string, box: MemoryBox | undefined, stop: AbortSignal) {
    const wrapper: readonly string[] = box?.wrapper ?? []
    const [execPath = '', ...words] = wrapper.concat(process.execPath)
    // Beside this file, and like it compiled or not.
    const file = fileURLToPath(new URL(`host${extname(import.meta.url)}`, import.meta.url))
    this.#child = fork(file, [], {
      execPath,
      execArgv: words,
      env: { ...process.env, TMPDIR: tmp },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#exited = once(this.#child, 'exit')
    this.#exited.catch(() => undefined)
    this.#stop = stop
    this.trees = new WorkerTrees(this.#child.pid ?? 0)
  }

  /** Resolves when it listens. Rejects as `ask` does. */
  async ready(): Promise<void> {
    await this.#answer()
  }

  /** Rejects with its PoolError, when it ends instead, and when the command is to stop. */
  ask<Name extends keyof SizeHost>(name: Name, ...[request]: Parameters<SizeHost[Name]>): ReturnType<SizeHost[Name]> {
    this.#child.send({ ask: name, request })
    return this.#answer() as ReturnType<SizeHost[Name]>
  }

  /** Ends it with all that it has started; resolves when it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    await this.#exited
  }

  async #answer(): Promise<unknown> {
    const done = new AbortController()
    const ended = this.#exited.then(([code, signal]) => {
      const how = typeof signal === 'string' ? signal : `exit code ${String(code)}`
      throw new PoolError('worker_exited', `the host that was measured ended with ${how}; with --memory, give it more`)
    })
    const told = stopped(this.#stop).then(() => {
      throw new Error('stopped')
    })
    try {
      const message = once(this.#child, 'message', { signal: done.signal })
      const [{ answer, error }] = (await Promise.race([message, ended, told])) as [Answer]
      if (error === undefined) return answer
      if (error.code === 'invalid_config') throw new ConfigError('config', error.message)
      throw error.code === undefined ? new Error(error.message) : new PoolError(error.code, error.message)
    } finally {
      done.abort()
    }
  }
}
