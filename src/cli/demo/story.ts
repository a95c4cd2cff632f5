import { CapacityError, WorkerExitedError } from '../../index.ts'
import type { Pool, Session, Turn } from '../../index.ts'
import { processesOfThisHost, signalProcess } from '../../process/tree.ts'
import type { DemoFindings, Path } from './findings.ts'

/** The listeners of a story. */
export interface Audience {
  chapter(title: string, why: string): void
  measured(path: Path, samples: readonly number[]): void
  note(text: string): void
}

/** Each path is measured this often; the median counts. */
const ROUNDS = 5

/** The answer of the simulated model begins with how many prompts it found in the conversation. */
const turnsIn = (answer: string): number => Number(/^\[turn (\d+)\]/.exec(answer)?.[1] ?? Number.NaN)

/** Streamed pieces after which a prompt is surely in the transcript: it is written up to 0.1 s after the model was asked. */
const PIECES_BEFORE_KILL = 30
const SLOW_ANSWER = '@sim tokens 1500 pace 20'
const LONG_TURN = '@sim delay 60000'

/** Runs through everything that the demo shows. */
export class DemoStory {
  readonly findings: DemoFindings = {
    samples: { cold: [], resumed: [], spare: [], primed: [], live: [] },
    broken: [],
  }
  readonly #pool: Pool
  readonly #audience: Audience
  /** Prompts that were sent, by session. */
  readonly #sent = new Map<string, number>()
  #sessions = 0

  constructor(pool: Pool, audience: Audience) {
    this.#pool = pool
    this.#audience = audience
  }

  async tell(): Promise<void> {
    await this.#cold()
    const session = await this.#spare()
    await this.#live(session)
    await this.#resumed(session)
    await this.#primed(session)
    await this.#crash(session)
    await this.#refusal(session)
  }

  async #cold(): Promise<void> {
    // The pool starts its spare now; what is measured beside that would look too slow.
    await this.#spareReady()
    this.#audience.chapter(
      'A cold start',
      'A new conversation starts a process of its own. Without a pool, every user waits this long.',
    )
    for (let round = 0; round < ROUNDS; round += 1) {
      const session = await this.#begin('plain')
      await this.#measure('cold', session)
      await session.delete()
    }
    this.#report('cold')
  }

  async #spare(): Promise<Session> {
    this.#audience.chapter(
      'A spare',
      'A process that was started ahead, and has served no conversation yet, takes a new conversation.',
    )
    let last: Session | undefined
    for (let round = 0; round < ROUNDS; round += 1) {
      await last?.delete()
      await this.#spareReady()
      last = await this.#begin('spared')
      await this.#measure('spare', last)
    }
    this.#report('spare')
    return last as Session
  }

  async #live(session: Session): Promise<void> {
    this.#audience.chapter('The next turns', 'The process stays for a while, so the conversation goes on at once.')
    for (let round = 0; round < ROUNDS; round += 1) await this.#measure('live', session)
    this.#report('live')
  }

  async #resumed(session: Session): Promise<void> {
    this.#audience.chapter(
      'After hibernation',
      'The user went to lunch, and the process left to free its memory. The next message starts a new one, which ' +
        'knows all that was said.',
    )
    for (let round = 0; round < ROUNDS; round += 1) {
      await session.hibernate()
      await this.#measure('resumed', session)
    }
    this.#report('resumed')
  }

  async #primed(session: Session): Promise<void> {
    this.#audience.chapter(
      'The same, started ahead',
      'The user opens the page, your code calls session.warm(), and the wait is over before the message comes.',
    )
    for (let round = 0; round < ROUNDS; round += 1) {
      await session.hibernate()
      await session.warm()
      await this.#measure('primed', session)
    }
    this.#report('primed')
  }

  async #crash(session: Session): Promise<void> {
    this.#audience.chapter(
      'A crash',
      'The process is killed (SIGKILL) while it answers, as the kernel does without memory.',
    )
    const turn = this.#send(session, SLOW_ANSWER)
    await untilUnderway(turn)
    const worker = this.#workerOf(session)
    for (const identity of processesOfThisHost()) if (identity.pid === worker.pid) signalProcess(identity, 'SIGKILL')
    const error = await failureOf(turn)
    this.#audience.note(`The turn's error: ${error === undefined ? 'none' : `${error.name}: ${error.message}`}`)
    if (!(error instanceof WorkerExitedError)) this.#broken('the killed turn did not fail with WorkerExitedError')
    const { answer } = await this.#turn(session)
    const promptsSent = this.#sent.get(session.key) ?? 0
    const turnsInAnswer = turnsIn(answer)
    this.#audience.note(
      `The session goes on in process ${this.#workerOf(session).pid} (was ${worker.pid}): "${answer}". ` +
        `${promptsSent} prompts were sent; the model sees ${turnsInAnswer}.`,
    )
    this.findings.crash = {
      error: error?.name ?? 'none',
      promptsSent,
      turnsInAnswer,
      workerBefore: worker.pid ?? 0,
      workerAfter: this.#workerOf(session).pid ?? 0,
    }
  }

  async #refusal(session: Session): Promise<void> {
    const { limit } = this.#pool.stats().turns
    this.#audience.chapter(
      'A full house',
      `This pool runs at most ${limit} turns at once. One more is refused at once, and told when to come back, ` +
        'before the machine runs out of memory for all.',
    )
    const others = await Promise.all(Array.from({ length: limit - 1 }, () => this.#begin('plain')))
    const running = [session, ...others].map((each) => this.#send(each, LONG_TURN))
    const refused = await failureOf(this.#send(await this.#begin('plain'), 'And me?'))
    if (refused instanceof CapacityError) {
      const { reason, retryAfterMs, message } = refused
      this.findings.refusal = { reason, retryAfterMs, message }
      this.#audience.note(`CapacityError: ${message} (retryAfterMs: ${retryAfterMs})`)
      if (!(retryAfterMs > 0)) this.#broken('the refusal did not say when to come back')
    } else this.#broken('the turn beyond the limit was not refused with CapacityError')
    await Promise.all(running.map((turn) => turn.interrupt()))
    await Promise.allSettled(running.map(({ result }) => result))
  }

  #begin(agent: 'plain' | 'spared'): Promise<Session> {
    this.#sessions += 1
    return this.#pool.session(`demo-${this.#sessions}`, { agent })
  }

  #send(session: Session, text: string): Turn {
    this.#sent.set(session.key, (this.#sent.get(session.key) ?? 0) + 1)
    return session.send(text)
  }

  async #measure(path: Path, session: Session): Promise<void> {
    const { firstMs, warmth } = await this.#turn(session)
    if (warmth !== path) this.#broken(`a turn that should be ${path} was ${warmth}`)
    this.findings.samples[path].push(firstMs)
  }

  /** One turn, checked: the answer must show that the conversation is whole. */
  async #turn(session: Session): Promise<{ firstMs: number; warmth: string | undefined; answer: string }> {
    const begun = performance.now()
    const turn = this.#send(session, 'hello')
    let firstMs: number | undefined
    for await (const message of turn) if (message.type === 'assistant') firstMs ??= performance.now() - begun
    const result = await turn.result
    const answer = result.subtype === 'success' ? result.result : result.subtype
    const sent = this.#sent.get(session.key)
    if (turnsIn(answer) !== sent) this.#broken(`after ${sent} prompts the answer was "${answer}"`)
    return { firstMs: firstMs ?? Number.NaN, warmth: turn.warmth, answer }
  }

  #report(path: Path): void {
    this.#audience.measured(path, this.findings.samples[path])
  }

  #broken(what: string): void {
    this.findings.broken.push(what)
  }

  #workerOf(session: Session): { id: string; pid: number | undefined } {
    const worker = this.#pool.workers().find((each) => each.session === session.key)
    if (worker === undefined) throw new Error(`session ${session.key} has no process`)
    return worker
  }

  async #spareReady(): Promise<void> {
    const ready = (): boolean =>
      this.#pool
        .workers()
        .some(({ agent, session, state }) => agent === 'spared' && session === undefined && state === 'idle')
    while (!ready()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const heard = (): void => resolve()
      this.#pool.on('worker.ready', heard)
      await promise
      this.#pool.off('worker.ready', heard)
    }
  }
}

async function untilUnderway(turn: Turn): Promise<void> {
  for (let pieces = 0; pieces < PIECES_BEFORE_KILL;) {
    const { done, value } = await turn.next()
    if (done === true) return
    if (value.type === 'stream_event') pieces += 1
  }
}

const failureOf = (turn: Turn): Promise<Error | undefined> =>
  turn.result.then(
    () => undefined,
    (error: unknown) => error as Error,
  )
