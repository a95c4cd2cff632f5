import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import { onTestFinished } from 'vitest'
import { main } from './command.ts'

/** Whether a command can be given a terminal here: by `script` of util-linux. */
export const hasTerminal: boolean = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0

const quoted = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`

/** The command on a terminal of so many columns. */
export class Terminal {
  readonly #child
  readonly ended: Promise<{ code: number | null; screen: string }>
  #screen = ''
  #heard = new Set<() => void>()

  constructor(
    args: readonly string[],
    { cwd, columns = 80, env = {} }: { cwd: string; columns?: number; env?: Record<string, string> },
  ) {
    const words = [process.execPath, main, ...args].map(quoted).join(' ')
    const { PATH = '', HOME = '' } = process.env
    this.#child = spawn('script', ['-qec', `stty cols ${columns} rows 50; exec ${words}`, '/dev/null'], {
      cwd,
      env: { PATH, HOME, TERM: 'xterm', NO_COLOR: '1', SHELL: '/bin/sh', ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#child.stdin.on('error', () => undefined)
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#screen += stripVTControlCharacters(text).replaceAll('\r', '')
      for (const tell of this.#heard) tell()
    })
    this.ended = once(this.#child, 'close').then(([code]: (number | null)[]) => {
      for (const tell of this.#heard) tell()
      return { code: code ?? null, screen: this.#screen }
    })
    onTestFinished(async () => {
      this.#child.kill('SIGKILL')
      await this.ended
    })
  }

  /** Types a line. */
  type(line: string): void {
    this.#child.stdin.write(`${line}\n`)
  }

  /** Presses keys, without Enter. */
  press(keys: string): void {
    this.#child.stdin.write(keys)
  }

  /** Resolves with the screen when it shows this. Rejects when the command has ended without. */
  async shows(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#screen)) {
      if (this.#child.stdout.readableEnded)
        throw new Error(`it ended without showing ${String(pattern)}: ${this.#screen}`)
      await new Promise<void>((resolve) => this.#heard.add(resolve))
      this.#heard.clear()
    }
    return this.#screen
  }
}
