import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { Fault } from './faults.ts'
import { Probes } from './reach.ts'

/** What noticed a fault: a failing test, a test that did not end, or nothing. `stopped`: the run ended before it was tried. */
export type NoticedBy = 'tests' | 'time' | 'none' | 'stopped'

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
/** A run may take this many times as long as without a fault, and a minute. */
const PATIENCE = 4

/** No run without a fault takes longer. */
const LONGEST_MS = 3_600_000

/** How long each test file takes without a fault, in milliseconds. Files that fail without one are not in it: they prove nothing. */
export type Baseline = ReadonlyMap<string, number>

/** A copy of the project in which faults are made. */
export class Copy implements AsyncDisposable {
  readonly #root: string

  private constructor(root: string) {
    this.#root = root
  }

  static async make(): Promise<Copy> {
    const root = await mkdtemp(join(tmpdir(), 'mutants-'))
    for (const name of COPIED) await cp(name, join(root, name), { recursive: true })
    await symlink(join(process.cwd(), 'node_modules'), join(root, 'node_modules'))
    return new Copy(root)
  }

  /** The faults that the compiler accepts. */
  async compiling(faults: readonly Fault[], signal: AbortSignal): Promise<Fault[]> {
    const accepted: Fault[] = []
    let rest = [...faults]
    while (rest.length > 0 && !signal.aborted) {
      // One to a file: an error shows where its fault is, since exports have explicit types.
      const batch = new Map(rest.map((fault) => [fault.file, fault]))
      rest = rest.filter((fault) => batch.get(fault.file) !== fault)
      accepted.push(...(await this.#compilingAtOnce([...batch.values()], signal)))
    }
    return faults.filter((fault) => accepted.includes(fault))
  }

  async #compilingAtOnce(faults: readonly Fault[], signal: AbortSignal): Promise<Fault[]> {
    const undo = await Promise.all(faults.map((fault) => this.#make(fault)))
    const { output } = await this.#run(['tsc', '-p', 'tsconfig.build.json', '--noEmit', '--pretty', 'false'], {
      signal,
      limitMs: LONGEST_MS,
    })
    await Promise.all(undo.map((each) => each()))
    const wrong = new Set(Array.from(output.matchAll(/^(\S+?)\(\d+,\d+\): error/gm), ([, file = '']) => file))
    const accepted = faults.filter(({ file }) => !wrong.delete(file))
    // A literal's type can fail in another file: whose fault that is, is found by halves.
    if (wrong.size === 0) return accepted
    if (faults.length === 1) return []
    const middle = Math.ceil(faults.length / 2)
    const halves = [faults.slice(0, middle), faults.slice(middle)]
    return [
      ...(await this.#compilingAtOnce(halves[0] ?? [], signal)),
      ...(await this.#compilingAtOnce(halves[1] ?? [], signal)),
    ]
  }

  /** Runs all tests without a fault: how long each file takes, and which of them reach which fault. */
  async watch(
    faults: readonly Fault[],
    signal: AbortSignal,
  ): Promise<{ baseline: Baseline; failing: string[]; reach: Map<Fault, string[]> }> {
    const probes = new Probes(this.#root, faults)
    await probes.place()
    const report = join(this.#root, 'report.json')
    await this.#test(['--reporter', 'json', '--outputFile', report], { signal, limitMs: LONGEST_MS })
    await probes.remove()
    const { testResults } = JSON.parse(await readFile(report, 'utf8')) as {
      testResults: { name: string; status: string; startTime: number; endTime: number }[]
    }
    const baseline = new Map<string, number>()
    const failing: string[] = []
    for (const { name, status, startTime, endTime } of testResults) {
      const test = relative(this.#root, name)
      if (status === 'passed') baseline.set(test, endTime - startTime)
      else failing.push(test)
    }
    return { baseline, failing, reach: await probes.read([...baseline.keys()]) }
  }

  /** Runs the tests that reach a fault with it: first those of its own folder, which notice most. */
  async tryOut(fault: Fault, tests: readonly string[], baseline: Baseline, signal: AbortSignal): Promise<NoticedBy> {
    const undo = await this.#make(fault)
    const folder = `${join('test/unit', relative('src', dirname(fault.file)))}/`
    const { near = [], far = [] } = Object.groupBy(tests, (test) => (test.startsWith(folder) ? 'near' : 'far'))
    try {
      for (const group of [near, far].filter(({ length }) => length > 0)) {
        const usualMs = group.reduce((sum, test) => sum + (baseline.get(test) ?? 0), 0)
        const limitMs = Math.ceil(60_000 + PATIENCE * usualMs)
        const { code, late } = await this.#test(['--bail', '1', '--maxWorkers', '1', ...group], { signal, limitMs })
        if (signal.aborted) return 'stopped'
        if (code !== 0) return late ? 'time' : 'tests'
      }
      return 'none'
    } finally {
      await undo()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true })
  }

  /** Makes a fault. Calling what it resolves with takes it back. */
  async #make(fault: Fault): Promise<() => Promise<void>> {
    const path = join(this.#root, fault.file)
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.slice(0, fault.start) + fault.after + text.slice(fault.end))
    return () => writeFile(path, text)
  }

  #test(words: string[], limits: Limits): Promise<Ended> {
    return this.#run(['vitest', 'run', '--project', 'unit', '--typecheck.enabled=false', ...words], limits)
  }

  async #run([command = '', ...words]: string[], { signal, limitMs }: Limits): Promise<Ended> {
    if (signal.aborted) return { code: null, late: false, output: '' }
    const limit = AbortSignal.timeout(limitMs)
    const child = spawn(process.execPath, [join(this.#root, 'node_modules/.bin', command), ...words], {
      cwd: this.#root,
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    })
    const output: Buffer[] = []
    child.stdout.on('data', (piece: Buffer) => void output.push(piece))
    const end = (): void => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
    }
    const ended = AbortSignal.any([signal, limit])
    ended.addEventListener('abort', end)
    const [code] = (await once(child, 'close')) as [number | null]
    ended.removeEventListener('abort', end)
    return { code, late: limit.aborted, output: Buffer.concat(output).toString() }
  }
}

interface Limits {
  signal: AbortSignal
  limitMs: number
}

interface Ended {
  code: number | null
  late: boolean
  output: string
}
