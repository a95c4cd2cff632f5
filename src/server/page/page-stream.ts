import { randomUUID } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { SessionGoneError } from '../../index.ts'
import type { Pool, SessionInfo } from '../../index.ts'
import { frame } from '../http/stream.ts'
import type { Question, Questions } from '../questions.ts'
import { NOTHING, deltaOf, encode } from './delta.ts'
import type { Encoded, SectionName } from './delta.ts'
import type { Hub, Subscriber } from './hub.ts'
import type { Recent } from './recent.ts'
import { runningTurn } from './timeline.ts'
import type { Hello, OpenQuestion, View } from './wire.ts'
import { WatchedSession } from './watched-session.ts'

type Chunk = Uint8Array<ArrayBuffer>
type Step = IteratorResult<Chunk, undefined>

const FOR_ALL: readonly SectionName[] = ['overview', 'hosts', 'agents', 'notices', 'samples']

interface PageStreamContext {
  hub: Hub
  pool: Pool
  clock: Clock
  questions: Questions
  recent: Recent
  hello: Omit<Hello, 'stream' | 'now'>
}

/**
 * What one open page is sent. It holds what the page has, and no queue: what a slow reader has not taken when something
 * changes again is sent as one change.
 */
export class PageStream implements AsyncIterator<Chunk, undefined>, Subscriber {
  readonly id: string = randomUUID()
  readonly operator: string
  readonly #context: PageStreamContext
  readonly #had = new Map<SectionName, Encoded>()
  #view: View
  #watched: WatchedSession | undefined
  #info: SessionInfo | null | undefined
  #reading = false
  #greeted = false
  #freshEvents = false
  #sortsAnew = true
  /** Parts that the page has to forget first. */
  readonly #forgotten = new Set<SectionName>()
  #awake = true
  #over = false
  #wake: (() => void) | undefined

  constructor(context: PageStreamContext, view: View) {
    this.#context = context
    this.operator = context.hello.operator
    this.#view = view
    context.hub.subscribe(this)
    this.#watch()
  }

  get showsWorkers(): boolean {
    return this.#view.workers === true || this.#view.session !== undefined
  }

  /** The page shows something else. */
  show(view: View): void {
    const [before, { session }] = [this.#view.session, view]
    this.#view = view
    this.#sortsAnew = true
    const isOther = session?.tenant !== before?.tenant || session?.key !== before?.key
    // A session that was not there may have begun.
    if (isOther || this.#watched?.problem !== undefined) this.#watch()
    if (this.showsWorkers) this.#context.hub.wantWorkers()
    this.wake()
  }

  wake(sortsAnew = false): void {
    this.#sortsAnew ||= sortsAnew
    this.#awake = true
    this.#wake?.()
  }

  /** The server closes. */
  end(): void {
    this.#over = true
    this.#watched?.leave()
    this.wake()
  }

  leave(): void {
    this.end()
    this.#context.hub.unsubscribe(this)
  }

  async next(): Promise<Step> {
    for (;;) {
      if (this.#over) return { done: true, value: undefined }
      if (!this.#greeted) return { done: false, value: this.#greet() }
      if (this.#awake) {
        this.#awake = false
        const value = this.#collect()
        if (value !== undefined) return { done: false, value }
      }
      if (!this.#awake && !this.#over) await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  return(): Promise<Step> {
    this.leave()
    return Promise.resolve({ done: true, value: undefined })
  }

  #greet(): Chunk {
    this.#greeted = true
    const hello: Hello = { ...this.#context.hello, stream: this.id, now: this.#context.clock.wall() }
    return frame('hello', JSON.stringify(hello))
  }

  #watch(): void {
    this.#watched?.leave()
    this.#watched = undefined
    this.#info = undefined
    this.#freshEvents = true
    for (const name of ['session', 'turns'] as const) {
      this.#had.delete(name)
      this.#forgotten.add(name)
    }
    const { session } = this.#view
    if (session === undefined) return
    this.#watched = new WatchedSession(session, () => this.wake())
    void this.#watched.follow(this.#context.pool)
  }

  /** All that has changed since the page was sent something; undefined if nothing has. */
  #collect(): Chunk | undefined {
    const { hub, clock } = this.#context
    const changed: string[] = []
    for (const name of FOR_ALL) this.#add(changed, name, hub.shared(name))
    if (this.#view.workers === true) this.#add(changed, 'workers', hub.shared('workers'))
    this.#addList(changed)
    this.#addSession(changed)
    const events = this.#watched?.take() ?? []
    const parts = [
      ...(changed.length === 0 ? [] : [`"sections":{${changed.join(',')}}`]),
      ...(events.length === 0 ? [] : [`"events":${JSON.stringify(events)}`]),
      ...(this.#freshEvents ? ['"freshEvents":true'] : []),
    ]
    this.#freshEvents = false
    return parts.length === 0 ? undefined : frame('delta', `{"now":${clock.wall()},${parts.join(',')}}`)
  }

  #add(changed: string[], name: SectionName, is: Encoded): void {
    const delta = deltaOf(this.#had.get(name) ?? NOTHING, is)
    this.#had.set(name, is)
    const fresh = this.#forgotten.delete(name)
    if (delta !== undefined) changed.push(`"${name}":${fresh ? `{"fresh":true,${delta.slice(1)}` : delta}`)
    else if (fresh) changed.push(`"${name}":{"fresh":true}`)
  }

  #addList(changed: string[]): void {
    const { list } = this.#view
    const { index } = this.#context.hub
    if (list === undefined || index === undefined) return
    const { total, rows } = index.window(list, this.#sortsAnew)
    this.#sortsAnew = false
    this.#add(changed, 'list', encode(Object.fromEntries(rows)))
    this.#add(changed, 'listed', encode({ total, offset: list.offset, order: [...rows.keys()] }))
  }

  #addSession(changed: string[]): void {
    const { session } = this.#view
    const watched = this.#watched
    if (session === undefined || watched === undefined) return
    const { hub, clock, questions, recent } = this.#context
    const { tenant, key } = session
    void this.#readInfo(session)
    const turn = hub.turns.find((each) => each.session === key && each.tenant === tenant)
    const worker = hub.workers.find((each) => each.session === key && each.tenant === tenant)
    const is = encode({
      info: this.#info,
      turn: turn === undefined ? null : runningTurn(turn, clock.wall()),
      worker: worker ?? null,
      questions: questions.open(tenant, key).map(shownQuestion),
      problem: watched.problem ?? null,
    })
    this.#add(changed, 'session', is)
    this.#add(changed, 'turns', encode(Object.fromEntries(recent.turnsOf(session).map((each) => [each.id, each]))))
  }

  /** The session as it is now. One read at a time: what it finds is sent with the next change. */
  async #readInfo({ tenant, key }: { tenant: string; key: string }): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    try {
      const info = await (await this.#context.pool.session(key, { tenant })).info()
      const { session } = this.#view
      if (session?.key === key && session.tenant === tenant) this.#info = info
    } catch (error) {
      if (error instanceof SessionGoneError) this.#info = null
    } finally {
      this.#reading = false
    }
  }
}

const shownQuestion = ({ tool, session: _, ...question }: Question): OpenQuestion => ({
  ...question,
  tool: tool && { name: tool.name, input: tool.input },
})
