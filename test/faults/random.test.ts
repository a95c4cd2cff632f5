import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { seeded } from '../../bench/shared/seeded.ts'
import type { Pool, Session, Turn } from '../../src/index.ts'
import { event, isWritten, modelAsked, openSite, textOf, until, workerOf } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { MCP_SERVER, realAgent } from './agents.ts'
import { expectTrueGauges, measured, WHOLE } from './assertions.ts'
import { identify, living, signal } from './procfs.ts'
import { sentinelsOf, Witness } from './witness.ts'

const SEED = Number(process.env['FAULT_SEED'] ?? 1)
const FAULTS = WHOLE ? 200 : 4
const SESSIONS = WHOLE ? 20 : 8

/** Faults at the same time; each lane has its own sessions and its own random numbers, so that a run can be repeated. */
const LANES = 4

const LIMIT_MS = 7_000

/** Long enough for a process that is slow on a busy machine and does not hang. */
const SILENCE_MS = 6_000

interface Answer {
  text: string
  words: string
  sent: number
  completed: readonly string[]
  shown: string
}

/** A conversation is whole when the model is shown all that was completed, and counts on. */
function expectWhole({ text, words, sent, completed, shown }: Answer): void {
  expect(text).toContain(words)
  const turn = Number(/^\[turn (\d+)\] You said: /.exec(text)?.[1])
  expect(turn).toBeGreaterThan(completed.length)
  expect(turn).toBeLessThanOrEqual(sent)
  for (const earlier of completed) expect(shown).toContain(earlier)
}

/** A conversation, and what its user knows of it. */
class Talk {
  readonly key: string
  readonly #site: Site
  readonly #session: Session
  readonly #completed: string[] = []
  #sent = 0

  constructor(site: Site, session: Session) {
    this.#site = site
    this.#session = session
    this.key = session.key
  }

  /** Begins a turn that something will happen to. */
  begin(directive: string, options?: { inactivityTimeoutMs: number }): { turn: Turn; words: string } {
    this.#sent += 1
    const words = `${this.key}-${this.#sent};`
    return {
      turn: this.#session.send(`${words}\n${directive}`, options === undefined ? {} : { limits: options }),
      words,
    }
  }

  /** One more turn, as if nothing had happened. */
  async goesOn(): Promise<void> {
    this.#sent += 1
    const words = `${this.key}-${this.#sent};`
    const text = await textOf(this.#session.send(words))
    const request = this.#site.simulator.requests.findLast(({ prompt }) => prompt?.includes(words) === true)
    expectWhole({ text, words, sent: this.#sent, completed: this.#completed, shown: JSON.stringify(request?.body) })
    this.#completed.push(words)
  }

  hibernate(): Promise<void> {
    return this.#session.hibernate()
  }
}

interface Scene {
  site: Site
  pool: Pool
  talk: Talk
}

const gone = ({ pool, talk }: Scene): Promise<unknown> =>
  event(pool, 'worker.closed', ({ worker }) => worker.session === talk.key)

const pidOf = ({ pool, talk }: Scene): number => workerOf(pool, talk.key).pid

/** The worker of the session is there, and idle. */
async function worker(scene: Scene): Promise<number> {
  if (!scene.pool.workers().some(({ session, state }) => session === scene.talk.key && state === 'idle'))
    await scene.talk.goesOn()
  return pidOf(scene)
}

/** A turn in which a command runs that has let others go. */
async function commandRuns(scene: Scene, options?: { inactivityTimeoutMs: number }): Promise<Turn> {
  const { site, talk } = scene
  const script = join(site.root, 'tree.sh')
  await writeFile(script, `(setsid sleep 302 &)\nenv -i sleep 304 &\ntouch "$1"\nsleep 307\n`)
  const up = join(site.root, `${talk.key}-${Math.round(performance.now() * 1000)}`)
  const { turn } = talk.begin(`@sim bash sh ${script} ${up}`, options)
  // A turn that ends before its command runs says more than a file that never comes.
  const ended = turn.result.then(({ subtype, ...rest }) => {
    throw new Error(`the turn ended before its command ran: ${subtype} ${'result' in rest ? rest.result : ''}`)
  })
  await Promise.race([until(() => access(up)), ended])
  return turn
}

async function killedInMidTurn(scene: Scene, name: NodeJS.Signals): Promise<void> {
  const turn = await commandRuns(scene)
  const left = gone(scene)
  signal(identify(pidOf(scene)), name)
  await expect(turn.result).rejects.toMatchObject({ name: 'WorkerExitedError' })
  await left
}

const FAULT_KINDS: Record<string, (scene: Scene) => Promise<void>> = {
  async 'idle worker killed'(scene) {
    const pid = await worker(scene)
    const left = gone(scene)
    signal(identify(pid), 'SIGKILL')
    await left
  },
  async 'worker killed while it waits for the model'(scene) {
    const { turn, words } = scene.talk.begin('@sim silence')
    await modelAsked(scene.site, words)
    await isWritten(scene.site, words)
    const left = gone(scene)
    signal(identify(pidOf(scene)), 'SIGKILL')
    await expect(turn.result).rejects.toMatchObject({ name: 'WorkerExitedError' })
    await left
  },
  'worker killed while a command runs': (scene) => killedInMidTurn(scene, 'SIGKILL'),
  'worker told to go while a command runs': (scene) => killedInMidTurn(scene, 'SIGTERM'),
  async 'worker hangs'(scene) {
    const turn = await commandRuns(scene, { inactivityTimeoutMs: SILENCE_MS })
    const left = gone(scene)
    signal(identify(pidOf(scene)), 'SIGSTOP')
    await expect(turn.result).rejects.toMatchObject({ name: 'TurnTimeoutError' })
    await left
  },
  async 'worker killed while it starts'(scene) {
    await scene.talk.hibernate()
    const started = event(scene.pool, 'worker.started', (each) => each.worker.session === scene.talk.key)
    const { turn } = scene.talk.begin('')
    const { worker: starting } = await started
    signal(identify(starting.pid ?? 0), 'SIGKILL')
    await expect(turn.result).rejects.toMatchObject({ name: 'StartError' })
  },
  async 'MCP server killed'(scene) {
    const server = await until(async () => {
      // Others may need its place before the server is there.
      const pid = await worker(scene)
      const found = living().find(({ ppid, command }) => ppid === pid && command.includes(MCP_SERVER))
      if (found === undefined) throw new Error('it has no MCP server yet')
      return found
    })
    signal(server, 'SIGKILL')
  },
  async 'command killed'(scene) {
    const turn = await commandRuns(scene)
    const marker = markerOf(pidOf(scene))
    for (const entry of living()) {
      if (entry.command === 'sleep 307' && entry.environment.includes(marker)) signal(entry, 'SIGKILL')
    }
    await turn.result
  },
  async 'turn interrupted'(scene) {
    const turn = await commandRuns(scene)
    await turn.interrupt()
    await turn.result
  },
  hibernated: async (scene) => scene.talk.hibernate(),
  async 'sentinel killed'() {
    for (const sentinel of sentinelsOf(identify(process.pid))) signal(sentinel, 'SIGKILL')
  },
}

const markerOf = (pid: number): string =>
  /CLAUDE_AGENT_POOL_MARKER=[^\0]+/.exec(living().find((entry) => entry.pid === pid)?.environment ?? '')?.[0] ?? 'none'

test(
  `After ${FAULTS} random faults over ${SESSIONS} sessions no process is left and no conversation lost (FAULT_SEED=${SEED})`,
  { timeout: WHOLE ? 1_800_000 : 300_000 },
  async () => {
    const site = await openSite({ recordLimit: 5_000 })
    const pool = await site.pool({ agents: { a: realAgent() }, limits: { workers: 10 } })
    const witness = new Witness(site.root)
    const startedAt = performance.now()
    const names = Object.keys(FAULT_KINDS)
    const done: string[] = []
    const talks: Talk[] = []
    const lane = async (number: number): Promise<void> => {
      const random = seeded(SEED * 1_000 + number)
      const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
      const own: Talk[] = []
      for (let index = number; index < SESSIONS; index += LANES) {
        own.push(new Talk(site, await pool.session(`s${index}`, { agent: 'a' })))
      }
      talks.push(...own)
      for (let fault = number; fault < FAULTS; fault += LANES) {
        const talk = pick(own)
        const name = pick(names)
        try {
          await FAULT_KINDS[name]?.({ site, pool, talk })
          await talk.goesOn()
        } catch (error) {
          const before = JSON.stringify({ done: done.slice(-6), workers: pool.workers(), stats: pool.stats() })
          throw new Error(`fault ${fault}, "${name}" in session ${talk.key}; ${before}`, { cause: error })
        }
        witness.look()
        done.push(name)
      }
    }
    await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)))
    expect(done).toHaveLength(FAULTS)
    for (const talk of talks) await talk.goesOn()
    measured(`${FAULTS} random faults`, Math.round(performance.now() - startedAt))
    await until(() => expectTrueGauges(pool.stats(), pool.workers()))
    const closedAt = performance.now()
    await pool.close()
    measured(`pool closed after ${FAULTS} random faults`, await witness.goneWithin(LIMIT_MS, closedAt))
    await until(() => expect(sentinelsOf(identify(process.pid))).toEqual([]))
  },
)
