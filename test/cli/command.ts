import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { MARKER_VARIABLE } from '../../src/process/marker.ts'

/** The compiled command. */
export const main: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** What a command said, and how it ended. */
export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** Processes of its pool that were there after it. */
  left: number
}

interface CommandOptions {
  cwd?: string
  env?: Record<string, string>
  limits?: { descriptors: number; heapMiB: number }
  uid?: number
}

/** The command, running. */
export class Command {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly ended: Promise<Ended>
  readonly cwd: string
  #stdout = ''
  #stderr = ''
  #heard = new Set<() => void>()

  /** `limits`: how many descriptors it may have, and MiB of heap. `uid`: another user, without HOME; only root can start it. */
  constructor(args: readonly string[], { cwd, env = {}, limits, uid }: CommandOptions = {}) {
    const { PATH = '', HOME = '' } = process.env
    this.cwd = cwd ?? process.cwd()
    const own = [process.execPath, ...(limits === undefined ? [] : [`--max-old-space-size=${limits.heapMiB}`]), main]
    const [program = '', ...rest] =
      limits === undefined ? own : ['sh', '-c', `ulimit -n ${limits.descriptors} && exec "$@"`, 'sh', ...own]
    const user = uid === undefined ? {} : { uid, gid: uid }
    const environment = { PATH, ...(uid === undefined ? { HOME } : {}), ...env }
    this.child = spawn(program, [...rest, ...args], { cwd, env: environment, stdio: 'pipe', ...user })
    this.child.stdin.on('error', () => undefined)
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => this.#hear(() => (this.#stdout += text)))
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => this.#hear(() => (this.#stderr += text)))
    this.ended = this.#end()
    onTestFinished(async () => {
      this.child.kill('SIGKILL')
      await this.ended
    })
  }

  /** Sends the input; without more to come the input ends. */
  type(text: string, { more = false }: { more?: boolean } = {}): this {
    if (more) this.child.stdin.write(text)
    else this.child.stdin.end(text)
    return this
  }

  /** Resolves when stdout or stderr hold this. Rejects when the command has ended without. */
  async said(pattern: RegExp): Promise<string> {
    for (;;) {
      const all = this.#stdout + this.#stderr
      if (pattern.test(all)) return all
      if (this.child.stdout.readableEnded && this.child.stderr.readableEnded)
        throw new Error(`it ended without saying ${String(pattern)}: ${all}`)
      await new Promise<void>((resolve) => this.#heard.add(resolve))
      this.#heard.clear()
    }
  }

  #hear(note: () => void): void {
    note()
    for (const tell of this.#heard) tell()
  }

  async #end(): Promise<Ended> {
    const [code, signal] = (await once(this.child, 'close')) as [number | null, NodeJS.Signals | null]
    this.#hear(() => undefined)
    const left = ownedBy(this.child.pid ?? 0).length
    return { code, signal, stdout: this.#stdout, stderr: this.#stderr, left }
  }
}

/** Processes that carry the mark of a host, which all that a pool starts inherit. */
export function ownedBy(host: number): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARKER_VARIABLE}=${host}:`)
    } catch {
      return false
    }
  })
}

/** Runs the command to its end. */
export const run = (
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; input?: string } = {},
): Promise<Ended> => new Command(args, options).type(options.input ?? '').ended
