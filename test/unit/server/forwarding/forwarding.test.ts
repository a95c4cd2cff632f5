import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { FencedError, StoreError, toolUseEventId } from '../../../../src/index.ts'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { readPassedOn } from '../../../../src/server/http/passed-on.ts'
import type { AnswerStore, KeptAnswer, KeptRequest, RequestName } from '../../../../src/store/api-store.ts'
import { passing, testHosts } from '../../../fixtures/hosts.ts'
import type { TestHost } from '../../../fixtures/hosts.ts'
import { Frames } from '../../../fixtures/server.ts'
import type { SharedStore } from '../../../fixtures/shared-store.ts'

/** An upper bound for a slow machine. */
const PATIENCE = { timeout: 50_000, interval: 10 }

/** Two hosts. The first one has the session `ada`, unless the test says otherwise. */
async function twoHosts({ begun = true } = {}) {
  const apiStore = new SqliteApiStore(':memory:')
  onTestFinished(() => apiStore.close())
  const all = await testHosts(2, { options: { apiStore } })
  const [first, second] = all.hosts as [TestHost, TestHost]
  if (begun) await new Frames(await say(first, 'hello')).rest()
  const { id: firstId = '' } = first.pool.hosts().find(({ isThisHost }) => isThisHost) ?? {}
  return { ...all, first, second, firstId }
}

/** The first of three hosts has the session `ada`. */
async function threeHosts() {
  const { hosts, ...all } = await testHosts(3)
  const [first, second, third] = hosts as [TestHost, TestHost, TestHost]
  await new Frames(await say(first, 'hello')).rest()
  return { ...all, hosts: [first, second, third] as const }
}

const say = (host: TestHost, prompt: string): Promise<Response> =>
  host.ask('POST', '/sessions/ada/messages', { body: { prompt } })

const promptsOf = ({ driver }: TestHost): unknown[] =>
  driver.processes.flatMap(({ prompts }) => prompts.map(({ message }) => message.content))

/** A session of `/v1`, made at this host. */
async function made(host: TestHost): Promise<string> {
  const answer = await host.ask('POST', '/v1/sessions', {
    body: { agent: 'agent_assistant', environment_id: 'env_local' },
  })
  return ((await answer.json()) as { id: string }).id
}

/** Answers of which nobody works on those that are not finished. */
class MemoryAnswers implements AnswerStore {
  /** No answer can be kept. */
  isCutOff = false
  taken = 0
  readonly #rows = new Map<string, KeptRequest>()

  async begin({ bodyHash, seed, ...name }: Parameters<AnswerStore['begin']>[0]): Promise<KeptRequest | undefined> {
    const known = this.#rows.get(name.path + name.key)
    if (known === undefined)
      this.#rows.set(name.path + name.key, {
        bodyHash,
        answer: undefined,
        isWorkedOn: false,
        ...(seed === undefined ? {} : { seed }),
      })
    return known
  }

  async finish({ path, key }: RequestName, answer: KeptAnswer): Promise<void> {
    if (this.isCutOff) throw new Error('cut off')
    const known = this.#rows.get(path + key)
    if (known !== undefined) this.#rows.set(path + key, { ...known, answer })
  }

  async forget({ path, key }: RequestName): Promise<void> {
    this.#rows.delete(path + key)
  }

  async forgetSession(): Promise<void> {}

  async leave(): Promise<void> {}

  async takeUp(): Promise<boolean> {
    this.taken += 1
    return true
  }
}

const message = (text: string): object => ({ events: [{ type: 'user.message', content: [{ type: 'text', text }] }] })

/** The events of a session, as one host lists them. */
async function eventsOf(host: TestHost, id: string): Promise<{ id: string; type: string }[]> {
  const answer = await host.ask('GET', `/v1/sessions/${id}/events?limit=100`)
  return ((await answer.json()) as { data: { id: string; type: string }[] }).data
}

describe('a request for a session that another host has', () => {
  test('is answered by that host: messages, their stream, and AG-UI', async () => {
    const { first, second } = await twoHosts()
    const answer = await say(second, 'again')
    expect(answer.status).toBe(200)
    const frames = await new Frames(answer).rest()
    expect(frames.at(-1)).toMatchObject({ event: 'done' })
    const resumed = await second.ask('GET', '/sessions/ada/messages', {
      headers: { 'last-event-id': frames[0]?.id ?? '' },
    })
    expect((await new Frames(resumed).rest()).map(({ id }) => id)).toEqual(frames.slice(1).map(({ id }) => id))
    const run = {
      runId: 'r',
      threadId: 'ada',
      tools: [],
      context: [],
      messages: [{ id: 'm', role: 'user', content: 'of AG-UI' }],
    }
    const said = await (await second.ask('POST', '/ag-ui/assistant', { body: run })).text()
    expect(said).toContain('RUN_FINISHED')
    expect(promptsOf(first)).toHaveLength(3)
    expect(second.driver.processes).toEqual([])
  })

  test('keeps its own status, headers and request id', async () => {
    const { first, second, clock } = await twoHosts({ begun: false })
    const id = await made(first)
    first.driver.onStart = (process) => (process.answersAtOnce = false)
    await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('hello') })
    await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
    const refused = await second.ask('POST', `/v1/sessions/${id}/archive`)
    expect(refused.status).toBe(400)
    expect(await refused.json()).toMatchObject({
      error: { message: `session ${id} is running; interrupt it first` },
      request_id: refused.headers.get('request-id'),
    })
    const shown = await second.ask('GET', `/v1/sessions/${id}`)
    expect(await shown.json()).toMatchObject({ id, status: 'running' })
    const interrupt = { events: [{ type: 'user.interrupt' }] }
    const interrupted = await passing(clock, second.ask('POST', `/v1/sessions/${id}/events`, { body: interrupt }))
    expect(interrupted.status).toBe(200)
    expect(first.driver.processes[0]?.interrupts).toBe(1)
  })

  test('answers the question of an agent that waits there', async () => {
    const { first, second } = await twoHosts({ begun: false })
    const tools = [
      { type: 'agent_toolset_20260401', configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] },
    ]
    const asking = { name: 'Helper', model: 'claude-sonnet-5', tools }
    const { id: agent } = (await (await first.ask('POST', '/v1/agents', { body: asking })).json()) as { id: string }
    const body = { agent, environment_id: 'env_local' }
    const { id } = (await (await first.ask('POST', '/v1/sessions', { body })).json()) as { id: string }
    first.driver.onStart = (process) => (process.answersAtOnce = false)
    await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('work') })
    await first.driver.until(() => first.driver.processes.some(({ unanswered }) => unanswered === 1))
    const asked = first.driver.processes
      .find(({ unanswered }) => unanswered === 1)
      ?.spec.options.canUseTool?.('Bash', {}, { signal: AbortSignal.any([]), toolUseID: 'toolu_1', requestId: 'r' })
    const confirmation = { type: 'user.tool_confirmation', tool_use_id: toolUseEventId('toolu_1'), result: 'allow' }
    const answered = await second.ask('POST', `/v1/sessions/${id}/events`, { body: { events: [confirmation] } })
    expect([answered.status, await asked]).toEqual([200, expect.objectContaining({ behavior: 'allow' })])
  })

  test('is not passed on again: a host that does not have the session says so', async () => {
    const { first, second } = await twoHosts()
    const passedOn = readPassedOn(new Headers(), '1')
    const request = new Request('http://localhost/sessions/ada/messages', {
      method: 'POST',
      body: JSON.stringify({ prompt: 'again' }),
    })
    expect((await second.server.app.fetch(request, { passedOn })).status).toBe(421)
    expect(promptsOf(first)).toHaveLength(1)
  })

  test('takes what a client writes into the headers of hosts for nothing', async () => {
    const { second } = await twoHosts({ begun: false })
    const id = await made(second)
    const headers = { 'x-claude-agent-pool-seed': '0', 'x-claude-agent-pool-repeat': '1' }
    for (let times = 0; times < 2; times += 1)
      expect((await second.ask('POST', `/v1/sessions/${id}/events`, { body: message('hello'), headers })).status).toBe(
        200,
      )
    expect(promptsOf(second)).toHaveLength(2)
  })
})

describe('a host that cannot be reached', () => {
  test('is tried for five seconds; then the client is told when to come back', async () => {
    const { first, second, clock } = await twoHosts()
    await first.pool.cluster?.close()
    const before = clock.now()
    const answer = await passing(clock, say(second, 'again'))
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, expect.stringMatching(/^[12]$/)])
    expect(clock.now() - before).toBeGreaterThanOrEqual(5_000)
    expect(clock.now() - before).toBeLessThan(6_000)
  })

  test('loses the session to the host that the client has asked, once it is gone', async () => {
    const { store, first, second, firstId, clock } = await twoHosts()
    await first.pool.cluster?.close()
    const answer = say(second, 'again')
    await store.lose(firstId)
    expect((await passing(clock, answer)).status).toBe(200)
    expect(promptsOf(second)).toEqual(['again'])
  })
})

describe('a request whose host goes away with it', () => {
  /** The first host does what it is asked, and breaks off before its answer, so many times. */
  function breaksOff({ pool, server }: TestHost, times: number): void {
    let left = times
    pool.cluster?.serve(async (request, { id }) => {
      const answer = await server.app.fetch(request, { passedOn: readPassedOn(request.headers, id) })
      if ((left -= 1) < 0) return answer
      await answer.text()
      throw new Error('broken off')
    })
  }

  test('is done once: its events have the same ids each time', async () => {
    const { first, second, clock } = await twoHosts({ begun: false })
    const id = await made(first)
    await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('first') })
    breaksOff(first, 2)
    const events = { events: [...(message('second') as { events: object[] }).events, { type: 'user.interrupt' }] }
    const answer = await passing(clock, second.ask('POST', `/v1/sessions/${id}/events`, { body: events }))
    expect(answer.status).toBe(200)
    const { data } = (await answer.json()) as { data: { id: string; type: string }[] }
    const all = await eventsOf(first, id)
    expect(all.filter(({ type }) => type === 'user.message')).toHaveLength(2)
    expect(all.filter(({ type }) => type === 'user.interrupt')).toHaveLength(1)
    expect(data.every((event) => all.some((stored) => stored.id === event.id))).toBe(true)
    expect(promptsOf(first)).toHaveLength(2)
  })

  /** When the returned function was called, the next prompt is stored, and its host loses the session. */
  function losesSession(store: SharedStore, also: () => void = () => undefined): () => void {
    let left = 0
    const append = store.appendEvents.bind(store)
    vi.spyOn(store, 'appendEvents').mockImplementation(async (claim, events, turn) => {
      await append(claim, events, turn)
      if (events.some(({ type }) => type === 'user.message') && (left -= 1) >= 0) {
        also()
        throw new FencedError(claim.uid, '2')
      }
    })
    return () => void (left = 1)
  }

  test.each([0, 1])(
    'is done once if its host has stored the prompt and lost the session before it answered (asked of host %i)',
    async (at) => {
      const { hosts, first, second, store, clock } = await twoHosts({ begun: false })
      const lose = losesSession(store)
      const id = await made(first)
      // Its process stays, and so does the session.
      await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('first') })
      await vi.waitFor(
        async () => expect((await eventsOf(first, id)).at(-1)?.type).toBe('session.status_idle'),
        PATIENCE,
      )
      lose()
      const answer = await passing(
        clock,
        (hosts[at] as TestHost).ask('POST', `/v1/sessions/${id}/events`, { body: message('hello') }),
      )
      expect(answer.status).toBe(200)
      const { data } = (await answer.json()) as { data: { id: string }[] }
      const prompts = (await eventsOf(second, id)).filter(({ type }) => type === 'user.message')
      expect(prompts.slice(1).map((event) => event.id)).toEqual(data.map((event) => event.id))
    },
  )

  test('goes on at the next host under its key, and stores nothing twice', async () => {
    const answers = new MemoryAnswers()
    const apiStore = new SqliteApiStore(':memory:')
    onTestFinished(() => apiStore.close())
    const { hosts } = await testHosts(2, { options: { apiStore: Object.assign(Object.create(apiStore), { answers }) } })
    const [first, second] = hosts as [TestHost, TestHost]
    const id = await made(first)
    const send = async (host: TestHost): Promise<{ status: number; text: string }> => {
      const headers = { 'idempotency-key': 'k' }
      const answer = await host.ask('POST', `/v1/sessions/${id}/events`, { body: message('hello'), headers })
      return { status: answer.status, text: await answer.text() }
    }
    // Its host ends before it can keep the answer.
    answers.isCutOff = true
    const sent = await send(first)
    answers.isCutOff = false
    expect(await send(second)).toEqual({ ...sent, status: 200 })
    expect(await send(first)).toEqual(sent)
    expect(answers.taken).toBe(1)
    expect((await eventsOf(second, id)).filter(({ type }) => type === 'user.message')).toHaveLength(1)
  })

  test('keeps its key while it is unknown whether its prompt is stored', async () => {
    const answers = new MemoryAnswers()
    const apiStore = new SqliteApiStore(':memory:')
    onTestFinished(() => apiStore.close())
    const { hosts, store, clock } = await testHosts(1, {
      options: { apiStore: Object.assign(Object.create(apiStore), { answers }) },
    })
    const [host] = hosts as [TestHost]
    const id = await made(host)
    const send = (): Promise<Response> =>
      passing(
        clock,
        host.ask('POST', `/v1/sessions/${id}/events`, { body: message('hello'), headers: { 'idempotency-key': 'k' } }),
      )
    losesSession(store, () =>
      vi.spyOn(store.hosts, 'hostOf').mockRejectedValueOnce(new StoreError('the database is away')),
    )()
    expect((await send()).status).toBe(500)
    expect((await send()).status).toBe(200)
    expect((await eventsOf(host, id)).filter(({ type }) => type === 'user.message')).toHaveLength(1)
  })

  test('gets the turn of the first try', async () => {
    const { first, second, clock } = await twoHosts()
    breaksOff(first, 1)
    const answer = await passing(clock, say(second, 'again'))
    const frames = await new Frames(answer).rest()
    expect(frames.at(-1)).toMatchObject({ event: 'done' })
    expect(promptsOf(first)).toEqual(['hello', 'again'])
  })
})

describe('a stream of another host', () => {
  test('goes on at the next host, without an event lost or shown twice', async () => {
    const { store, first, second, firstId, clock } = await twoHosts({ begun: false })
    const id = await made(first)
    await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('first') })
    const stream = new Frames(
      await second.ask('GET', `/v1/sessions/${id}/events/stream`, { headers: { 'last-event-id': '0' } }),
    )
    const shown: (string | undefined)[] = []
    const read = async (type: string): Promise<void> => {
      for (;;) {
        const frame = await stream.next()
        if (frame?.id !== undefined) shown.push(frame.id)
        if (frame === undefined || frame.event === type) return
      }
    }
    await read('session.status_idle')
    await store.lose(firstId)
    // The others learn of it with their next beats.
    await clock.advance(1_200)
    await passing(clock, second.ask('POST', `/v1/sessions/${id}/events`, { body: message('second') }))
    await passing(clock, read('session.status_idle'))
    await stream.leave()
    expect(shown).toEqual(shown.map((_id, index) => String(index + 1)))
    expect(shown.length).toBe((await eventsOf(second, id)).length)
    expect(promptsOf(second)).toHaveLength(1)
  })

  test('has the next host run what the last one has not begun, also if nothing but the stream asks for the session', async () => {
    const { store, first, second, firstId, clock } = await twoHosts({ begun: false })
    const id = await made(first)
    first.driver.onStart = (process) => (process.readyAtOnce = false)
    await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('waiting') })
    await store.lose(firstId)
    // Before a beat has told the second host of it, so that it takes no session over by itself.
    const stream = new Frames(await second.ask('GET', `/v1/sessions/${id}/events/stream`))
    void stream.next()
    await passing(
      clock,
      second.driver.until(() => promptsOf(second).length === 1),
    )
    await stream.leave()
    expect(promptsOf(second)).toEqual([[{ type: 'text', text: 'waiting' }]])
  })

  test('goes on when its host gives the session up', async () => {
    const { first, second, clock } = await twoHosts({ begun: false })
    const id = await made(first)
    await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('first') })
    const stream = new Frames(await second.ask('GET', `/v1/sessions/${id}/events/stream`))
    await passing(clock, first.pool.close())
    await passing(clock, second.ask('POST', `/v1/sessions/${id}/events`, { body: message('second') }))
    let frame = await passing(clock, stream.next())
    while (frame !== undefined && frame.event !== 'user.message') frame = await passing(clock, stream.next())
    expect(frame).toMatchObject({ data: { content: [{ text: 'second' }] } })
    await stream.leave()
  })

  test('goes on at the next host at once when its host drains, while other turns still run there', async () => {
    const { first, second, clock } = await twoHosts({ begun: false })
    const id = await made(first)
    await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('first') })
    await vi.waitFor(async () => expect((await eventsOf(first, id)).at(-1)?.type).toBe('session.status_idle'), PATIENCE)
    const stream = new Frames(await second.ask('GET', `/v1/sessions/${id}/events/stream`))
    const direct = new Frames(await first.ask('GET', `/v1/sessions/${id}/events/stream`))
    first.driver.onStart = (process) => (process.answersAtOnce = false)
    await first.ask('POST', `/v1/sessions/${await made(first)}/events`, { body: message('long') })
    await first.driver.until(() => first.driver.living.some(({ unanswered }) => unanswered === 1))
    const cut = new AbortController()
    const drained = first.pool.drain({ cut: cut.signal })
    // Opened again there, it would end at once, again and again.
    const again = new Request(`http://localhost/v1/sessions/${id}/events/stream`)
    const passedOn = readPassedOn(new Headers(), '2')
    expect((await first.server.app.fetch(again, { passedOn })).status).toBe(421)
    const answer = second.ask('POST', `/v1/sessions/${id}/events`, { body: message('second') })
    expect((await passing(clock, answer)).status).toBe(200)
    let frame = await passing(clock, stream.next())
    while (frame !== undefined && frame.event !== 'user.message') frame = await passing(clock, stream.next())
    expect(frame).toMatchObject({ data: { content: [{ text: 'second' }] } })
    expect((await direct.rest()).at(-1)).toMatchObject({
      event: 'error',
      data: { error: { type: 'overloaded_error' } },
    })
    expect(first.driver.living).toHaveLength(1)
    await stream.leave()
    cut.abort()
    await passing(clock, drained)
  })

  test('of a turn ends with a word on what became of it when its host is gone', async () => {
    const { store, first, second, firstId, clock } = await twoHosts()
    const [process] = first.driver.processes
    if (process !== undefined) process.answersAtOnce = false
    const asked = say(second, 'again')
    await first.driver.until(() => process?.unanswered === 1)
    const stream = new Frames(await passing(clock, asked))
    await store.lose(firstId)
    await clock.advance(1_200)
    const frames = await passing(clock, stream.rest())
    expect(frames.at(-1)).toMatchObject({
      event: 'error',
      data: {
        message: expect.stringMatching(/another server has taken the session over|the host of this session is gone/),
      },
    })
  })

  test('ends at its host when the client leaves', async () => {
    const { first, second } = await twoHosts({ begun: false })
    const id = await made(first)
    await first.ask('POST', `/v1/sessions/${id}/events`, { body: message('first') })
    const stream = new Frames(await second.ask('GET', `/v1/sessions/${id}/events/stream`))
    const open = async (): Promise<string> => (await first.ask('GET', '/metrics')).text()
    expect(await open()).toMatch(/streams_open 1/)
    await stream.leave()
    await vi.waitFor(async () => expect(await open()).toMatch(/streams_open 0/), PATIENCE)
  })
})

describe('the owner of a session', () => {
  /** Counts how often this host asks the store. */
  function countsQuestions({ hosts }: SharedStore, { pool }: TestHost): () => number {
    const { id } = pool.hosts().find(({ isThisHost }) => isThisHost) ?? {}
    const asked = vi.spyOn(hosts, 'hostOf')
    return () => asked.mock.calls.filter(([, , asker]) => asker === id).length
  }

  test('is asked for in the store once in ten seconds, not with each request', async () => {
    const { store, second, clock } = await twoHosts()
    const asked = countsQuestions(store, second)
    for (let times = 0; times < 3; times += 1) await new Frames(await say(second, 'again')).rest()
    expect(asked()).toBe(1)
    await clock.advance(10_000)
    await new Frames(await say(second, 'again')).rest()
    expect(asked()).toBe(2)
  })

  test('is asked for again when the host that is known does not have the session any more', async () => {
    const { store, clock, hosts } = await threeHosts()
    const [first, second, third] = hosts
    await new Frames(await say(third, 'again')).rest()
    expect(promptsOf(first)).toEqual(['hello', 'again'])
    // The second host takes the idle session over, and keeps it.
    await second.pool.session('ada', { agent: 'assistant' }).then((session) => session.warm())
    const asked = countsQuestions(store, third)
    await new Frames(await passing(clock, say(third, 'moved'))).rest()
    expect(promptsOf(second)).toEqual(['moved'])
    expect(asked()).toBe(1)
  })
})
