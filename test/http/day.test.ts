import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Anthropic, { APIConnectionError, BadRequestError, ConflictError } from '@anthropic-ai/sdk'
import { expect, onTestFinished, test } from 'vitest'
import { seeded } from '../../bench/shared/seeded.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { Command } from '../cli/command.ts'
import { OfficialFollower, StreamFollower } from '../fixtures/session-follower.ts'
import type { WireEvent } from '../fixtures/session-follower.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

/** `DAY=long` is an hour of a busy host; the short one is a minute of it. */
const LONG = process.env['DAY'] === 'long'
const SEED = Number(process.env['DAY_SEED'] ?? 1)
const SESSIONS = LONG ? 6 : 3
const ACTIONS = LONG ? 30 : 4
const KILLS = LONG ? 10 : 2

/** A server that is killed and started again on what it left. */
class Host {
  readonly #cwd: string
  #command: Command | undefined
  #up = Promise.withResolvers<string>()

  constructor(cwd: string) {
    this.#cwd = cwd
  }

  url(): Promise<string> {
    return this.#up.promise
  }

  async client(): Promise<Anthropic> {
    return new Anthropic({ apiKey: 'anybody', baseURL: await this.url(), maxRetries: 0 })
  }

  async start(): Promise<void> {
    const command = new Command(['serve', '--port', '0', '--json', '--log-level', 'info'], { cwd: this.#cwd })
    this.#command = command
    const said = await command.said(/^\{"url".*\n/m)
    const { url } = JSON.parse(/^\{"url".*$/m.exec(said)?.[0] ?? '{}') as { url: string }
    while (!(await fetch(`${url}/readyz`)).ok) await new Promise((resolve) => setImmediate(resolve))
    this.#up.resolve(url)
  }

  async kill(): Promise<void> {
    this.#up = Promise.withResolvers<string>()
    this.#command?.child.kill('SIGKILL')
    await this.#command?.ended
  }

  /** Ends it as an operator does. */
  end(): Promise<unknown> {
    this.#command?.child.kill('SIGTERM')
    return this.#command?.ended ?? Promise.resolve()
  }
}

type Sent = Anthropic.Beta.Sessions.Events.EventSendParams['events'][number]

const say = (text: string): Sent => ({ type: 'user.message', content: [{ type: 'text', text }] })

const isIdle = ({ type }: WireEvent): boolean => type === 'session.status_idle'
const isOver = (event: WireEvent): boolean => isIdle(event) && event.stop_reason?.type !== 'requires_action'

/** One who uses a session for a day. */
class Person {
  readonly id: string
  readonly stream: StreamFollower
  readonly official: OfficialFollower
  readonly done: Record<string, number> = {}
  readonly #host: Host
  readonly #random: () => number

  constructor(host: Host, id: string, seed: number) {
    this.#host = host
    this.id = id
    this.#random = seeded(seed)
    const leaving = seeded(seed + 1)
    this.stream = new StreamFollower(host, id, () => 1 + Math.floor(leaving() * 12))
    const other = seeded(seed + 2)
    this.official = new OfficialFollower(
      () => host.client(),
      id,
      () => 1 + Math.floor(other() * 12),
    )
  }

  async live(): Promise<void> {
    for (let action = 0; action < ACTIONS; action += 1) {
      const roll = this.#random()
      if (roll < 0.4) await this.#talk(action)
      else if (roll < 0.65) await this.#interrupt()
      else await this.#confirm(this.#random() < 0.5 ? 'allow' : 'deny')
    }
  }

  async #talk(action: number): Promise<void> {
    const tokens = 5 + Math.floor(this.#random() * 40)
    const place = await this.#send(say(`@sim tokens ${tokens} pace 5\n@sim say action ${action}`))
    if (place !== undefined) await this.stream.until(place, isOver)
    this.#note('turns', place)
  }

  async #interrupt(): Promise<void> {
    const place = await this.#send(say('@sim tokens 2000 pace 20'))
    if (place === undefined) return
    await this.stream.until(place, ({ type }) => type === 'span.model_request_start' || type === 'session.status_idle')
    await this.#send({ type: 'user.interrupt' })
    await this.stream.until(place, isOver)
    this.#note('interrupts', place)
  }

  async #confirm(result: 'allow' | 'deny'): Promise<void> {
    const place = await this.#send(say('@sim bash echo ran >> out.txt\n@sim say over'))
    if (place === undefined) return
    const idle = this.stream.events[await this.stream.until(place, isIdle)]
    for (const tool_use_id of idle?.stop_reason?.event_ids ?? [])
      await this.#send({ type: 'user.tool_confirmation', tool_use_id, result })
    await this.stream.until(place, isOver)
    this.#note('confirmations', place)
  }

  #note(what: string, place: number | undefined): void {
    if (place !== undefined) this.done[what] = (this.done[what] ?? 0) + 1
  }

  /** Sends an event: where it stands. Undefined: the host was killed, or what it was for is over. */
  async #send(event: Sent): Promise<number | undefined> {
    try {
      const client = await this.#host.client()
      const { data } = await client.beta.sessions.events.send(this.id, { events: [event] })
      const id = data?.[0]?.id
      return await this.stream.until(0, (other) => other.id === id)
    } catch (error) {
      // Killed before it answered: the event may have been taken, and its turn is closed by the next host.
      if (error instanceof APIConnectionError || error instanceof BadRequestError || error instanceof ConflictError)
        return undefined
      throw error
    }
  }
}

/** When a user's event was processed is known later than its beginning. */
const comparable = (event: WireEvent): object => {
  const { processed_at, ...rest } = event
  return /^(?:user|system)\./.test(event.type) ? rest : { ...rest, processed_at }
}

test(
  `A day of ${SESSIONS} people, compressed (seed ${SEED}): every list of events is what its streams said`,
  { timeout: LONG ? 3_600_000 : 120_000 },
  async () => {
    const simulator = await startSimulator()
    onTestFinished(() => simulator.close())
    const cwd = await temporaryFolder()
    await writeFile(
      join(cwd, 'claude-agent-pool.config.yaml'),
      `agents: { unused: { spares: { max: 0 }, unboundSpares: { max: 0 } } }
api: { baseUrl: "${simulator.url}", key: simulated }
dataDir: ./data
server: { grace: 5s }`,
    )
    const host = new Host(cwd)
    await host.start()
    const client = await host.client()
    const agent = await client.beta.agents.create({
      name: 'Helper',
      model: 'claude-sonnet-5',
      tools: [{ type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } }],
    })
    const people: Person[] = []
    for (let index = 0; index < SESSIONS; index += 1) {
      const { id } = await client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
      people.push(new Person(host, id, SEED * 1_000 + index * 10))
    }
    const random = seeded(SEED)
    const days = Promise.all(people.map((person) => person.live()))
    let over = false
    const evening = days.finally(() => (over = true))
    for (let kill = 0; kill < KILLS && !over; kill += 1) {
      const person = people[Math.floor(random() * people.length)] as Person
      const seen = person.stream.events.length
      await Promise.race([evening, person.stream.until(seen + 2, ({ type }) => type === 'session.status_running')])
      await host.kill()
      await host.start()
    }
    await days
    for (const { id, stream, official } of people) {
      const { beta } = await host.client()
      await expect.poll(async () => (await beta.sessions.retrieve(id)).status, { timeout: 20_000 }).toBe('idle')
      const listed: WireEvent[] = []
      for await (const event of beta.sessions.events.list(id, { limit: 7 })) listed.push(event as WireEvent)
      await stream.until(listed.length - 1, () => true)
      await expect.poll(() => official.events.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(listed.length)
      await Promise.all([stream.stop(), official.stop()])
      expect(stream.numbers).toEqual(listed.map((_, index) => index + 1))
      expect(stream.events.map(comparable)).toEqual(listed.map(comparable))
      expect(official.events.map(comparable)).toEqual(listed.map(comparable))
      expect(stream.connections).toBeGreaterThan(1)
      expect(listed.filter(isOver).length).toBeGreaterThanOrEqual(ACTIONS - KILLS)
    }
    const done = (what: string): number => people.reduce((sum, person) => sum + (person.done[what] ?? 0), 0)
    expect(['turns', 'interrupts', 'confirmations'].filter((what) => done(what) === 0)).toEqual([])
    expect(await host.end()).toMatchObject({ code: 0, left: 0 })
  },
)
