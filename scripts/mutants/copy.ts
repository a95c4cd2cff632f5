import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { Fault } from './faults.ts'

/** Who noticed a fault: a test, a test that no longer ended, nobody; or it did not compile, and is no fault that could land. */
export type NoticedBy = 'tests' | 'time' | 'none' | 'compiler'

const COPIED = [
  'src',
  'test',
  'bench',
  'docs',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'vitest.config.ts',
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'deploy',
]
/** A run may take this many times as long as without a fault. */
const PATIENCE = 4

/** A copy of the project in which faults are made. */
export class Copy implements AsyncDisposable {
  readonly #root: string
  #limitMs = 600_000

  private constructor(root: string) {
    this.#root = root
  }

  static async make(): Promise<Copy> {
    const root = await mkdtemp(join(tmpdir(), 'mutants-'))
    for (const name of COPIED) await cp(name, join(root, name), { recursive: true })
    await symlink(join(process.cwd(), 'node_modules'), join(root, 'node_modules'))
    return new Copy(root)
  }

  /** Runs the tests without a fault: they must pass, and say how long a run may take. */
  async measure(signal: AbortSignal): Promise<void> {
    const startedAt = performance.now()
    const outcome = await this.#test([], signal)
    if (outcome !== 'passed' && !signal.aborted) throw new Error(`the tests do not pass without a fault: ${outcome}`)
    this.#limitMs = Math.ceil(Math.max(60_000, PATIENCE * (performance.now() - startedAt)))
  }

  async tryOut(fault: Fault, signal: AbortSignal): Promise<NoticedBy | 'stopped'> {
    const path = join(this.#root, fault.file)
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.slice(0, fault.start) + fault.after + text.slice(fault.end))
    try {
      if ((await this.#run(['tsc', '-p', 'tsconfig.build.json', '--noEmit'], signal)) !== 'passed')
        return signal.aborted ? 'stopped' : 'compiler'
      // The tests of the same folder notice most faults, and take a fraction of the time.
      const near = join('test/unit', relative('src', dirname(fault.file)))
      const outcome =
        existsSync(join(this.#root, near)) && near !== 'test/unit' && (await this.#test([`${near}/`], signal))
      const whole = outcome && outcome !== 'passed' ? outcome : await this.#test([], signal)
      if (signal.aborted) return 'stopped'
      return whole === 'passed' ? 'none' : whole === 'failed' ? 'tests' : 'time'
    } finally {
      await writeFile(path, text)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true })
  }

  #test(filters: string[], signal: AbortSignal): Promise<'passed' | 'failed' | 'late'> {
    return this.#run(
      [
        'vitest',
        'run',
        '--project',
        'unit',
        '--bail',
        '1',
        '--maxWorkers',
        '1',
        '--typecheck.enabled=false',
        '--reporter',
        'dot',
        ...filters,
      ],
      signal,
    )
  }

  async #run([command = '', ...words]: string[], signal: AbortSignal): Promise<'passed' | 'failed' | 'late'> {
    if (signal.aborted) return 'failed'
    const limit = AbortSignal.timeout(this.#limitMs)
    const child = spawn(process.execPath, [join(this.#root, 'node_modules/.bin', command), ...words], {
      cwd: this.#root,
      stdio: 'ignore',
      detached: true,
    })
    const end = (): void => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
    }
    const ended = AbortSignal.any([signal, limit])
    ended.addEventListener('abort', end)
    const [code] = (await once(child, 'close')) as [number | null]
    ended.removeEventListener('abort', end)
    if (limit.aborted) return 'late'
    return code === 0 ? 'passed' : 'failed'
  }
}
