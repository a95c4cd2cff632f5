import { setTimeout as sleep } from 'node:timers/promises'
import type { ChaosHost } from './host.ts'

const REQUEST_MS = 20_000

/** A turn without an end for so long is asked about. */
const LATE_MS = 60_000

/** So often. */
const LOOK_MS = 2_000

/** A late turn on which no host works for so long is lost: longer than a host takes to notice it and to start a process for it. */
const LOST_MS = 30_000

/** A turn that is worked on for so long does not end. */
const ENDLESS_MS = 20 * 60_000

/** An agent writes down that it works, so often. */
const STEP_S = 0.2

/** An event as a client has been shown it. */
export interface Shown {
  number: number
  id: string
}

/** One prompt, and what its client knows of it. */
export interface Sent {
  word: string
  /** The event that a host has acknowledged. */
  id: string
  /** Milliseconds since the epoch. */
  sentAt: number
  acknowledgedAt: number
}

interface TalkerContext {
  hosts: readonly ChaosHost[]
  random: () => number
  /** Seconds that an agent works in one turn, at most. */
  longest: number
}

interface Frame {
  event: string
  id: string | undefined
  data: { id?: string; content?: { text?: string }[] }
}

/** One client: prompts of one session, one after the other, each through any host, and the stream of its events. */
export class Talker {
  readonly name: string
  readonly sent: Sent[] = []
  readonly shown: Shown[] = []
  /** What went wrong for good, such as a turn without an end. */
  readonly problems: string[] = []
  /** How often each answer came that was no success, by status. */
  readonly refused: Map<string, number> = new Map()
  session: string = ''
  readonly #context: TalkerContext
  readonly #left = new AbortController()
  #frames: ((frame: Frame) => void) | undefined

  constructor(name: string, context: TalkerContext) {
    this.name = name
    this.#context = context
  }

  /** Makes the session. */
  async begin(): Promise<void> {
    // A session too many harms nothing, so each try has a key of its own.
    for (let key = 0; ; key += 1) {
      const made = await this.#ask('/v1/sessions', `${this.name}-made-${key}`, {
        agent: 'agent_a',
        environment_id: 'env_local',
      })
      this.session = made?.status === 200 ? (made.body as { id: string }).id : ''
      if (this.session !== '') return
    }
  }

  /** Talks until it may not go on; resolves when the last turn has ended. */
  async talk(mayGoOn: () => boolean): Promise<void> {
    const following = this.#follow()
    for (let turn = 1; mayGoOn(); turn += 1) {
      await this.#turn(`${this.name}-${turn}.`)
      // Some sessions rest, others talk on.
      await sleep(this.#context.random() < 0.4 ? 3_000 * this.#context.random() : 50)
    }
    this.#left.abort()
    await following
  }

  async #turn(word: string): Promise<void> {
    const { random, longest } = this.#context
    const times = Math.floor(random() * (longest / STEP_S))
    // In its workspace, which each host has of its own: the CLI asks before it writes elsewhere.
    const says = `echo "$EPOCHREALTIME $$ ${word}" >> effects`
    const prompt = `${word}\n@sim bash ${says}; for i in $(seq ${times}); do sleep ${STEP_S}; ${says}; done`
    const sentAt = Date.now()
    // Listens before it sends: the turn may be over when its acknowledgement comes.
    const watched = new Watched()
    this.#frames = (frame) => watched.take(frame)
    const id = await this.#acknowledged(word, prompt)
    this.sent.push({ word, id, sentAt, acknowledgedAt: Date.now() })
    const problem = (await watched.over(id, LATE_MS)) ? undefined : await this.#problemOf(word, id, watched)
    this.#frames = undefined
    if (problem !== undefined) this.problems.push(problem)
  }

  /** Why a late turn has no end; undefined: it has one, for which a slow machine was waited for. */
  async #problemOf(word: string, id: string, watched: Watched): Promise<string | undefined> {
    const until = performance.now() + ENDLESS_MS
    let idleSince: number | undefined
    while (performance.now() < until) {
      if (await watched.over(id, LOOK_MS)) return undefined
      const shown = await this.#ask(`/v1/sessions/${this.session}`, undefined, undefined)
      // What no host answers says nothing of the session.
      if (shown?.status !== 200) continue
      const { status } = shown.body as { status: string }
      idleSince = status === 'idle' ? (idleSince ?? performance.now()) : undefined
      if (idleSince !== undefined && performance.now() - idleSince > LOST_MS)
        return `${word} is lost: no host works on it, and no end of it was shown`
    }
    return `${word} was worked on for ${ENDLESS_MS / 60_000} minutes`
  }

  /** Sends the prompt until a host has taken it; the id of its event. */
  async #acknowledged(word: string, prompt: string): Promise<string> {
    const events = [{ type: 'user.message', content: [{ type: 'text', text: prompt }] }]
    for (;;) {
      // Under the same key each time, as a client that does not know what has become of it.
      const answer = await this.#ask(`/v1/sessions/${this.session}/events`, word, { events })
      if (answer?.status === 200) {
        const [event] = (answer.body as { data: { id: string }[] }).data
        return event?.id ?? ''
      }
      await sleep(50 + 150 * this.#context.random())
    }
  }

  /** Undefined: there is no answer. */
  async #ask(
    path: string,
    key: string | undefined,
    body: object | undefined,
  ): Promise<{ status: number; body: unknown } | undefined> {
    const host = this.#host()
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(REQUEST_MS), host.signal])
      const answer = await fetch(`${host.url}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headers: key === undefined ? {} : { 'idempotency-key': key },
        signal,
      })
      const text = await answer.text()
      if (!answer.ok) this.#count(`${answer.status} ${text.slice(0, 160)}`)
      return { status: answer.status, body: answer.ok ? JSON.parse(text) : text }
    } catch {
      this.#count('no answer')
      await sleep(100)
      return undefined
    }
  }

  #count(what: string): void {
    const form = what
      .replaceAll(/\b(req|sesn|sevt)_\w+/g, '$1')
      .replaceAll(/\d{3,}/g, (digits) => (digits.length > 3 ? 'N' : digits))
    this.refused.set(form, (this.refused.get(form) ?? 0) + 1)
  }

  #host(): ChaosHost {
    const { hosts, random } = this.#context
    const up = hosts.filter(({ isDown }) => !isDown)
    const from = up.length > 0 ? up : hosts
    return from[Math.floor(random() * from.length)] as ChaosHost
  }

  /** Reads the events of the session, through the next host when a stream ends. */
  async #follow(): Promise<void> {
    while (!this.#left.signal.aborted) {
      const host = this.#host()
      try {
        const signal = AbortSignal.any([this.#left.signal, host.signal])
        const last = String(this.shown.at(-1)?.number ?? 0)
        const answer = await fetch(`${host.url}/v1/sessions/${this.session}/events/stream`, {
          headers: { 'last-event-id': last },
          signal,
        })
        if (answer.ok && answer.body !== null) for await (const frame of framesOf(answer.body)) this.#take(frame)
        else await answer.text()
      } catch {
        // It broke: another host has the rest.
      }
      if (!this.#left.signal.aborted) await sleep(50)
    }
  }

  #take(frame: Frame): void {
    const { id, data } = frame
    if (id !== undefined && data.id !== undefined) this.shown.push({ number: Number(id), id: data.id })
    this.#frames?.(frame)
  }
}

/** The frames of one turn. */
class Watched {
  /** Prompts that were shown, and those after which the session was idle. */
  readonly #shown = new Set<string>()
  readonly #ended = new Set<string>()

  take({ event, data: { id } }: Frame): void {
    if (event === 'user.message' && id !== undefined) this.#shown.add(id)
    if (event === 'session.status_idle') for (const prompt of this.#shown) this.#ended.add(prompt)
  }

  /** False: the turn of this prompt had no end for so long. */
  async over(id: string, ms: number): Promise<boolean> {
    const deadline = performance.now() + ms
    while (!this.#ended.has(id) && performance.now() < deadline) await sleep(20)
    return this.#ended.has(id)
  }
}

async function* framesOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Frame> {
  let text = ''
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece
    const parts = text.split('\n\n')
    text = parts.pop() ?? ''
    for (const part of parts) {
      const lines = part.split('\n')
      const field = (name: string): string | undefined =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
      yield { event: field('event') ?? '', id: field('id'), data: JSON.parse(field('data') ?? '{}') as Frame['data'] }
    }
  }
}
