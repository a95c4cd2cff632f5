import { setTimeout as wait } from 'node:timers/promises'
import type { HostOverview } from '../../control/operations.ts'
import { ConfigError } from '../../errors.ts'
import { parseDuration } from '../../units.ts'
import { EXIT } from '../shared/exit.ts'
import { onRunningHost, dataDirOf } from '../shared/running-host.ts'
import type { DataDirFlags } from '../shared/running-host.ts'
import { listenForStop } from '../shared/stop.ts'
import { styleOf } from '../shared/style.ts'
import { columnsOf } from '../shared/text.ts'
import { frameOf } from './frame.ts'
import { keysIn, wishOf } from './keys.ts'
import { rowsOf } from './rows.ts'
import type { Row, Sort } from './rows.ts'

/** The flags of `top`. */
export interface TopFlags extends DataDirFlags {
  every: string
  sort: string
  once?: true
  json?: true
}

const SORTS: readonly Sort[] = ['memory', 'age', 'phase']

const LEAST_EVERY_MS = 100

/** Shows what the running host does until `q` or a signal; once without a terminal. Resolves with the exit code. */
export async function top({ every, sort: given, once, json, ...flags }: TopFlags): Promise<number> {
  const everyMs = Math.max(LEAST_EVERY_MS, parseDuration('--every', every))
  const sort = SORTS.find((each) => each === given)
  if (sort === undefined) throw new ConfigError('--sort', `"${given}" is not one of: ${SORTS.join(', ')}`)
  const look = async (): Promise<HostOverview> => (await onRunningHost(flags, { do: 'overview' })) as HostOverview
  if (json === true) {
    console.log(JSON.stringify(await look()))
    return EXIT.done
  }
  const dataDir = await dataDirOf(flags)
  if (once === true || !process.stdin.isTTY || !process.stdout.isTTY) {
    const host = await look()
    const view = { dataDir, sort, selected: undefined, says: '', columns: columnsOf(process.stdout), lines: Infinity }
    console.log(frameOf(host, rowsOf(host, sort), view, styleOf(process.stdout)).join('\n').trimEnd())
    return EXIT.done
  }
  return new Top(flags, dataDir, sort, look).run(everyMs)
}

/** Another screen, so that the one before comes back; without a cursor. */
const BEGIN = '\u001B[?1049h\u001B[?25l'
const END = '\u001B[?25h\u001B[?1049l'
const HOME = '\u001B[H'
const REST_OF_LINE = '\u001B[K'
const REST_OF_SCREEN = '\u001B[J'

/** One run on a terminal. */
class Top {
  readonly #flags: DataDirFlags
  readonly #dataDir: string
  readonly #look: () => Promise<HostOverview>
  readonly #style = styleOf(process.stdout)
  readonly #done = new AbortController()
  #sort: Sort
  #host: HostOverview | undefined
  #rows: Row[] = []
  #selected: string | undefined
  #says: string | undefined
  /** What happens if the next key is `y`. */
  #asked: (() => Promise<unknown>) | undefined
  #code: number = EXIT.done

  constructor(flags: DataDirFlags, dataDir: string, sort: Sort, look: () => Promise<HostOverview>) {
    this.#flags = flags
    this.#dataDir = dataDir
    this.#sort = sort
    this.#look = look
  }

  async run(everyMs: number): Promise<number> {
    using stop = listenForStop(['SIGINT', 'SIGTERM', 'SIGHUP'])
    stop.signal.addEventListener('abort', () => this.#end(stop.signal.reason as number))
    // A host that is not there is told before the screen is taken.
    await this.#refresh()
    const { stdin, stdout } = process
    const resized = (): void => this.#draw()
    const pressed = (keys: string): void => {
      for (const key of keysIn(keys)) this.#press(key)
    }
    stdin.setRawMode(true).setEncoding('utf8').on('data', pressed)
    stdout.on('resize', resized).write(BEGIN)
    try {
      while (!this.#done.signal.aborted) {
        this.#draw()
        await wait(everyMs, undefined, { signal: this.#done.signal }).catch(() => undefined)
        if (!this.#done.signal.aborted) await this.#refresh()
      }
    } finally {
      stdin.off('data', pressed).setRawMode(false).pause()
      stdout.off('resize', resized).write(END)
    }
    return this.#code
  }

  #end(code: number): void {
    this.#code = code
    this.#done.abort()
  }

  async #refresh(): Promise<void> {
    this.#host = await this.#look()
    this.#rows = rowsOf(this.#host, this.#sort)
    if (!this.#rows.some(({ id }) => id === this.#selected)) this.#selected = undefined
  }

  #draw(): void {
    if (this.#host === undefined || this.#done.signal.aborted) return
    // A terminal that does not know its size says 0.
    const [columns, lines] = [process.stdout.columns || 80, process.stdout.rows || 24]
    const view = {
      dataDir: this.#dataDir,
      sort: this.#sort,
      selected: this.#selected,
      says: this.#says,
      columns,
      lines,
    }
    const frame = frameOf(this.#host, this.#rows, view, this.#style)
    process.stdout.write(HOME + frame.map((line) => line + REST_OF_LINE).join('\n') + REST_OF_SCREEN)
  }

  #press(key: string): void {
    const asked = this.#asked
    this.#asked = undefined
    this.#says = undefined
    const wish = wishOf(
      key,
      this.#rows.find(({ id }) => id === this.#selected),
    )
    if (asked !== undefined && key !== '\u0003') {
      if (key === 'y' || key === 'Y') void this.#act(asked)
      else this.#says = 'nothing was done'
    } else if (wish?.kind === 'quit') this.#end(key === '\u0003' ? 130 : EXIT.done)
    else if (wish?.kind === 'move') this.#move(wish.by)
    else if (wish?.kind === 'sort') {
      this.#sort = wish.by
      if (this.#host !== undefined) this.#rows = rowsOf(this.#host, wish.by)
    } else if (wish?.kind === 'act') {
      this.#says = `${wish.says} y/n`
      this.#asked = () => onRunningHost(this.#flags, wish.operation)
    } else if (wish?.kind === 'no') this.#says = wish.says
    this.#draw()
  }

  #move(by: number): void {
    const at = this.#rows.findIndex(({ id }) => id === this.#selected)
    const to = at === -1 ? 0 : Math.min(Math.max(at + by, 0), this.#rows.length - 1)
    this.#selected = this.#rows[to]?.id
  }

  async #act(work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
      this.#says = 'done'
      await this.#refresh()
    } catch (error) {
      this.#says = (error as Error).message
    }
    this.#draw()
  }
}
