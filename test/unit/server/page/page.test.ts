import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { Questions } from '../../../../src/server/questions.ts'
import type { Action, Delta, Hello, HostRow, SessionRow, View } from '../../../../src/server/page/wire.ts'
import { fakes } from '../../../fixtures/fakes.ts'
import { SharedStore } from '../../../fixtures/shared-store.ts'
import { Frames, served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

const OPERATOR = 'operator-key-0123456789abcdef'
const TENANT = 'tenant-key-0123456789abcdef'

const keyed = {
  page: true,
  keys: [{ tenant: 'acme', sha256: hashKey(TENANT) }],
  operators: [{ name: 'ann', sha256: hashKey(OPERATOR) }],
}

const PAGE = { 'x-claude-agent-pool-page': '1' }
const OWN = { ...PAGE, host: 'localhost:8080', origin: 'http://localhost:8080' }

/** What a page has put together from its stream. */
class Reader {
  readonly #frames: Frames
  hello: Hello | undefined
  readonly deltas: Delta[] = []
  readonly sections: Record<string, Record<string, unknown>> = {}

  constructor(response: Response) {
    this.#frames = new Frames(response)
    onTestFinished(() => this.#frames.leave())
  }

  async next(): Promise<Delta> {
    for (;;) {
      const frame = await this.#frames.next()
      if (frame === undefined) throw new Error('the stream has ended')
      if (frame.event === 'hello') this.hello = frame.data as Hello
      if (frame.event !== 'delta') continue
      const delta = frame.data as Delta
      this.deltas.push(delta)
      for (const [name, { set = {}, gone = [], fresh }] of Object.entries(delta.sections ?? {})) {
        const table = fresh ? {} : (this.sections[name] ?? {})
        Object.assign(table, set)
        for (const key of gone) delete table[key]
        this.sections[name] = table
      }
      return delta
    }
  }

  /** Reads on until this is so. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await this.next()
  }

  get ended(): Promise<unknown> {
    return this.#frames.rest()
  }
}

async function openPage({ ask }: ServedFakes, view: View = {}, headers: Record<string, string> = {}): Promise<Reader> {
  const path = `/page/stream?view=${encodeURIComponent(JSON.stringify(view))}`
  const response = await ask('GET', path, { headers: { ...PAGE, ...headers } })
  expect(response.status).toBe(200)
  return new Reader(response)
}

const act = async (
  { ask }: ServedFakes,
  action: Action,
  headers: Record<string, string> = {},
): Promise<[number, string]> => {
  const response = await ask('POST', '/page/action', { body: action, headers: { ...OWN, ...headers } })
  const body = (await response.json()) as { said?: string; error?: { message: string } }
  return [response.status, body.said ?? body.error?.message ?? '']
}

describe('who may open it', () => {
  test('it is there by default while the server has no keys, and gone when it gets some', async () => {
    const { ask, server } = await served()
    const file = await ask('GET', '/')
    // From its sources the server may have no built page; it says so.
    expect([200, 404]).toContain(file.status)
    expect((await ask('GET', '/page/stream', { headers: PAGE })).status).toBe(200)
    server.update({ keys: keyed.keys })
    expect((await ask('GET', '/')).status).toBe(401)
    const withKey = await ask('GET', '/page/stream', { headers: { ...PAGE, 'x-api-key': TENANT } })
    expect(withKey.status).toBe(404)
    expect((await ask('GET', '/page/stream', { headers: { ...PAGE, 'x-api-key': OPERATOR } })).status).toBe(401)
  })

  test('without keys it needs the key of the start if agents are isolated: they may reach loopback', async () => {
    const all = await served()
    const { server, pool } = all
    expect(server.pageKey).toBeUndefined()
    const stats = pool.stats()
    vi.spyOn(pool, 'stats').mockReturnValue({ ...stats, isolation: { ...stats.isolation, mode: 'bubblewrap' } })
    const key = server.pageKey ?? ''
    for (const headers of [PAGE, { ...PAGE, 'x-api-key': `${key}x` }])
      expect((await all.ask('GET', '/page/stream', { headers })).status).toBe(401)
    expect(await act(all, { do: 'suspend' })).toEqual([401, expect.stringContaining('open the address')])
    expect((await act(all, { do: 'suspend' }, { 'x-api-key': key }))[0]).toBe(200)
    const reader = await openPage(all, {}, { 'x-api-key': key })
    await reader.next()
    expect(reader.hello?.keyed).toBe(true)
    server.update({ keys: keyed.keys, operators: keyed.operators })
    expect(server.pageKey).toBeUndefined()
    expect((await all.ask('GET', '/page/stream', { headers: { ...PAGE, 'x-api-key': key } })).status).toBe(401)
  })

  test('page: false takes it away', async () => {
    const { ask } = await served({ page: false })
    for (const path of ['/', '/page/stream']) expect((await ask('GET', path, { headers: PAGE })).status).toBe(404)
  })

  test('with keys it opens with an operator’s key alone, on loopback too', async () => {
    const all = await served(keyed)
    const from = { host: 'localhost:8080' }
    for (const key of [undefined, TENANT, 'x'.repeat(24), '']) {
      const headers = { ...PAGE, ...from, ...(key === undefined ? {} : { 'x-api-key': key }) }
      expect((await all.ask('GET', '/page/stream', { headers })).status).toBe(401)
      expect((await act(all, { do: 'suspend' }, headers))[0]).toBe(401)
    }
    expect(all.pool.stats().suspended.pool).toBe(false)
    const reader = await openPage(all, {}, { 'x-api-key': OPERATOR })
    await reader.next()
    expect([reader.hello?.operator, reader.hello?.keyed]).toEqual(['ann', true])
  })

  test('with keys and without operators, page: true is refused: no one could open it', async () => {
    const { page, keys } = keyed
    await expect(served({ page, keys })).rejects.toThrow(/server\.page.*operators/)
    const { server } = await served(keyed)
    expect(() => server.update({ keys })).toThrow(/server\.page/)
  })

  test('nothing is shown without the header that no form can send, or to other sites', async () => {
    const { ask } = await served()
    const view = '/page/stream'
    expect((await ask('GET', view)).status).toBe(403)
    for (const site of ['cross-site', 'same-site'])
      expect((await ask('GET', view, { headers: { ...PAGE, 'sec-fetch-site': site } })).status).toBe(403)
    expect((await ask('GET', view, { headers: { ...PAGE, host: 'evil.example' } })).status).toBe(403)
    const { ask: other } = await served({ origins: ['https://app.example'] })
    const headers = { ...PAGE, host: 'localhost', origin: 'https://app.example' }
    expect((await other('GET', view, { headers })).status).toBe(403)
  })
})

describe('an action', () => {
  test.each<[string, Record<string, string | undefined>]>([
    ['without an origin', { origin: undefined }],
    ['of another origin', { origin: 'https://evil.example' }],
    ['of another port', { origin: 'http://localhost:9' }],
    ['of an opaque origin', { origin: 'null' }],
    ['to a name that was bent to loopback', { host: 'evil.example', origin: 'http://evil.example' }],
    ['without a host', { host: undefined }],
    ['without the header', { 'x-claude-agent-pool-page': undefined }],
    ['from another site', { 'sec-fetch-site': 'cross-site' }],
  ])('%s is refused', async (_, change) => {
    const { ask, pool, log } = await served()
    const headers = Object.fromEntries(
      Object.entries({ ...OWN, ...change }).filter((entry): entry is [string, string] => entry[1] !== undefined),
    )
    expect((await ask('POST', '/page/action', { body: { do: 'suspend' }, headers })).status).toBe(403)
    expect(pool.stats().suspended.pool).toBe(false)
    expect(log.filter(({ message }) => message.startsWith('operator'))).toEqual([])
  })

  test('of an operator with a key is taken from the server’s own page alone, whatever the server is called', async () => {
    const all = await served(keyed)
    const from = (host: string, origin: string): Record<string, string> => ({ 'x-api-key': OPERATOR, host, origin })
    const suspend = { do: 'suspend' } as const
    for (const origin of ['https://evil.example', 'http://pool.example:9', 'null', 'pool.example'])
      expect((await act(all, suspend, from('pool.example', origin)))[0]).toBe(403)
    expect(all.pool.stats().suspended.pool).toBe(false)
    expect((await act(all, suspend, from('pool.example', 'https://pool.example')))[0]).toBe(200)
  })

  test('is in the log with the name of its operator, what it was about and how it ended, without what was said', async () => {
    const all = await served(keyed)
    const key = { 'x-api-key': OPERATOR }
    expect(await act(all, { do: 'suspend', tenant: 'acme' }, key)).toEqual([200, expect.stringContaining('Suspended')])
    expect(all.pool.stats().suspended.tenants).toEqual(['acme'])
    expect(
      (await act(all, { do: 'send', tenant: 'acme', key: 'one', agent: 'assistant', prompt: 'secret' }, key))[0],
    ).toBe(429)
    const lines = all.log.filter(({ message }) => message.startsWith('operator action'))
    expect(lines.map(({ level, facts }) => [level, facts])).toEqual([
      ['info', { request_id: expect.any(String), operator: 'ann', action: 'suspend', tenant: 'acme', outcome: 'done' }],
      ['warn', expect.objectContaining({ operator: 'ann', action: 'send', key: 'one', outcome: 'capacity' })],
    ])
    expect(JSON.stringify(all.log)).not.toContain('secret')
  })

  test('that is none, or has too much, is refused with what is wrong with it', async () => {
    const all = await served()
    for (const action of [{ do: 'erase' }, { do: 'interrupt', tenant: 'default' }, { do: 'suspend', more: 1 }])
      expect((await act(all, action as Action))[0]).toBe(400)
    expect(await act(all, { do: 'drain' })).toEqual([400, expect.stringContaining('cannot be drained')])
  })

  test('interrupts, hibernates, closes workers, suspends, resumes, drains and tries retention', async () => {
    let drained = 0
    const all = await served({ drain: () => (drained += 1) })
    const { driver, pool } = all
    driver.onStart = (process) => (process.answersAtOnce = false)
    const one = { tenant: 'default', key: 'one' }
    const session = await pool.session('one', { agent: 'assistant' })
    const turn = session.send('go')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    const [worker] = pool.workers()
    expect((await act(all, { do: 'hibernate', ...one }))[1]).toContain('session_busy')
    let interrupted: string | undefined
    void act(all, { do: 'interrupt', ...one }).then(([, said]) => (interrupted = said))
    // The process has not begun the prompt: it gets some time for that first.
    while (interrupted === undefined) await all.clock.advance(1_000)
    expect(interrupted).toBe('The turn is interrupted.')
    await turn.result
    expect((await act(all, { do: 'interrupt', ...one }))[1]).toBe('No turn runs in this session.')
    expect((await act(all, { do: 'closeWorker', id: worker?.id ?? '' }))[1]).toBe(`Worker ${worker?.id} is closed.`)
    expect((await act(all, { do: 'closeWorker', id: 'w-none' }))[1]).toContain('there is no worker "w-none"')
    expect((await act(all, { do: 'hibernate', ...one }))[0]).toBe(200)
    expect((await act(all, { do: 'interrupt', tenant: 'default', key: 'none' }))[0]).toBe(404)
    expect((await act(all, { do: 'suspend' }))[0]).toBe(200)
    expect(pool.stats().suspended.pool).toBe(true)
    expect((await act(all, { do: 'resume' }))[0]).toBe(200)
    expect(pool.stats().suspended.pool).toBe(false)
    expect((await act(all, { do: 'pruneDryRun' }))[1]).toContain('would remove 0 sessions')
    expect((await act(all, { do: 'drain' }))[0]).toBe(200)
    expect(drained).toBe(1)
  })

  test('answers what the agent of a session asks, once', async () => {
    const questions = new Questions({})
    const all = await served({ questions })
    const place = { tenant: 'default', key: 'one' }
    const asked = questions.canUseTool('Bash', { command: 'ls' }, {
      session: { ...place, agent: 'assistant' },
      signal: new AbortController().signal,
      toolUseID: 'toolu_1',
    } as never)
    const { clock } = all
    await all.session('one')
    const reader = await openPage(all, { session: place })
    await reader.until(() => reader.sections['session']?.['questions'] !== undefined)
    expect(reader.sections['session']?.['questions']).toMatchObject([
      { id: 'toolu_1', kind: 'permission', tool: { name: 'Bash', input: { command: 'ls' } } },
    ])
    expect(await act(all, { do: 'answer', ...place, id: 'toolu_1', allow: true })).toEqual([200, 'Allowed.'])
    expect(await asked).toMatchObject({ behavior: 'allow' })
    expect((await act(all, { do: 'answer', ...place, id: 'toolu_1', allow: false }))[0]).toBe(404)
    await clock.advance(250)
    await reader.until(() => JSON.stringify(reader.sections['session']?.['questions']) === '[]')
  })
})

describe('the stream', () => {
  test('greets, then sends what there is, and later only what has changed', async () => {
    const all = await served()
    const { clock } = all
    const reader = await openPage(all)
    const first = await reader.next()
    expect(reader.hello).toMatchObject({ operator: 'anybody', keyed: false, agents: ['assistant'], canDrain: false })
    expect(Object.keys(first.sections?.overview?.set ?? {})).toEqual(
      expect.arrayContaining(['verdict', 'turns', 'waits', 'memory', 'totals', 'phases']),
    )
    await (await all.session('one')).send('go').result
    await clock.advance(1_000)
    await reader.until(() => JSON.stringify(reader.sections['overview']?.['totals']).includes('"success":1'))
    const changed = reader.deltas.at(-1)?.sections?.overview?.set ?? {}
    expect(changed).toHaveProperty('totals')
    expect(changed).not.toHaveProperty('suspended')
  })

  test('has this host and those that share its database, with what each does', async () => {
    const store = new SharedStore()
    const other = await fakes({ store })
    const all = await served({}, { store })
    other.driver.onStart = (process) => (process.answersAtOnce = false)
    const turn = (await other.session('there')).send('go')
    await other.driver.until(() => other.driver.processes[0]?.unanswered === 1)
    const reader = await openPage(all)
    for (let beat = 0; beat < 3; beat += 1) for (const { clock } of [other, all]) await clock.advance(1_000)
    await reader.until(() => Object.keys(reader.sections['hosts'] ?? {}).length === 2)
    await reader.until(() =>
      Object.values(reader.sections['hosts'] ?? {}).some((host) => (host as HostRow).running === 1),
    )
    const hosts = Object.values(reader.sections['hosts'] ?? {}) as HostRow[]
    expect(hosts.find(({ here }) => here !== undefined)).toMatchObject({
      state: 'ready',
      running: 0,
      here: { pid: process.pid },
    })
    expect(hosts.find(({ here }) => here === undefined)).toMatchObject({ state: 'ready', running: 1, waiting: 0 })
    other.driver.processes[0]?.finish()
    await turn.result
  })

  test('of a reader that takes nothing it holds no queue: all that has happened comes as one delta', async () => {
    const all = await served()
    const { clock } = all
    const reader = await openPage(all)
    await reader.next()
    for (let number = 0; number < 50; number += 1) {
      await (await all.session(`s${number}`)).send('go').result
      await clock.advance(250)
    }
    await clock.advance(1_000)
    const before = reader.deltas.length
    await reader.until(() => JSON.stringify(reader.sections['overview']?.['totals']).includes('"success":50'))
    expect(reader.deltas.length - before).toBeLessThanOrEqual(3)
  })

  test('lists sessions by page, sorted and searched, with the phase of those that run first', async () => {
    const all = await served({}, { limits: { turns: 100 } })
    const { clock, driver } = all
    for (let number = 0; number < 30; number += 1)
      await all.pool.session(`s${String(number).padStart(2, '0')}`, {
        agent: 'assistant',
        tenant: number < 10 ? 'acme' : 'default',
      })
    driver.onStart = (process) => (process.answersAtOnce = false)
    const turn = (await all.pool.session('s17')).send('go')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    const list = { search: '', sort: 'phase', descending: false, offset: 0, limit: 10 } as const
    const reader = await openPage(all, { list })
    const keys = (): string[] => {
      const order = (reader.sections['listed']?.['order'] ?? []) as string[]
      return order.map((id) => (reader.sections['list']?.[id] as SessionRow | undefined)?.key ?? '')
    }
    await clock.advance(1_000)
    await reader.until(() => reader.sections['listed']?.['total'] === 30 && keys()[0] === 's17')
    const first = reader.sections['list']?.['default\0s17'] as SessionRow
    expect(first).toMatchObject({ state: 'busy', phase: { name: 'prompt' } })
    const show = (change: object): Promise<Response> =>
      all.ask('POST', '/page/view', {
        headers: OWN,
        body: { stream: reader.hello?.stream, view: { list: { ...list, sort: 'session', ...change } } },
      })
    expect((await show({ search: 'acme s0', offset: 5, limit: 3 })).status).toBe(204)
    await reader.until(() => reader.sections['listed']?.['total'] === 10)
    expect(keys()).toEqual(['s05', 's06', 's07'])
    expect(Object.keys(reader.sections['list'] ?? {})).toHaveLength(3)
    await show({ search: 'BUSY prompt' })
    await reader.until(() => reader.sections['listed']?.['total'] === 1)
    expect(keys()).toEqual(['s17'])
    await show({ descending: true, limit: 2 })
    await reader.until(() => reader.sections['listed']?.['total'] === 30)
    expect(keys()).toEqual(['s29', 's28'])
    await (await all.pool.session('s29')).delete()
    await clock.advance(1_000)
    await reader.until(() => reader.sections['listed']?.['total'] === 29)
    expect((await show({ limit: 201 })).status).toBe(400)
    driver.processes[0]?.finish()
    await turn.result
  })

  test('of one session it has the events, the turn that runs with its phases, and those that have ended', async () => {
    const all = await served()
    const { clock, driver } = all
    const session = await all.session('one')
    await session.send('first').result
    driver.onStart = (process) => (process.answersAtOnce = false)
    const reader = await openPage(all, { session: { tenant: 'default', key: 'one' } })
    await reader.until(() => (reader.deltas.at(-1)?.events?.length ?? 0) > 0)
    const types = (): string[] => reader.deltas.flatMap(({ events = [] }) => events.map(({ event }) => event.type))
    expect(types()).toContain('user.message')
    const [ended] = Object.values(reader.sections['turns'] ?? {}) as { outcome: string; timeline: object[] }[]
    expect(ended?.outcome).toBe('success')
    const process = driver.processes[0]
    if (process !== undefined) process.answersAtOnce = false
    const turn = session.send('second')
    await driver.until(() => process?.unanswered === 1)
    await clock.advance(5_000)
    const running = (): { phase?: { name: string }; timeline?: { name: string; ms: number }[] } =>
      (reader.sections['session']?.['turn'] ?? {}) as never
    await reader.until(() => (running().timeline?.at(-1)?.ms ?? 0) >= 5_000)
    expect(running()).toMatchObject({ phase: { name: 'prompt' } })
    process?.finish()
    await turn.result
    await clock.advance(1_000)
    await reader.until(() => Object.keys(reader.sections['turns'] ?? {}).length === 2)
    expect(types().filter((type) => type === 'user.message')).toHaveLength(2)
  })

  test('of a session that has not begun it says so, and has its events when the page asks again', async () => {
    const all = await served()
    const place = { tenant: 'default', key: 'later' }
    const reader = await openPage(all, { session: place })
    await reader.until(() => typeof reader.sections['session']?.['problem'] === 'string')
    await (await all.session('later')).send('hello').result
    const show = await all.ask('POST', '/page/view', {
      body: { stream: reader.hello?.stream, view: { session: place } },
      headers: OWN,
    })
    expect(show.status).toBe(204)
    await reader.until(() =>
      reader.deltas.some(({ events = [] }) => events.some(({ event }) => event.type === 'user.message')),
    )
    expect(reader.sections['session']?.['problem'] ?? null).toBeNull()
  })

  test('a text of megabytes in an event is cut before it is sent', async () => {
    const all = await served()
    const session = await all.session('one')
    await session.send('x'.repeat(200_000)).result
    const reader = await openPage(all, { session: { tenant: 'default', key: 'one' } })
    await reader.until(() => (reader.deltas.at(-1)?.events?.length ?? 0) > 0)
    const sent = JSON.stringify(reader.deltas.at(-1)?.events)
    expect(sent).toContain('192000 more characters')
    expect(sent.length).toBeLessThan(20_000)
  })

  test('warnings from before the page was opened are there', async () => {
    const all = await served()
    const { driver } = all
    driver.onStart = (process) => (process.answersAtOnce = false)
    const turn = (await all.session('one')).send('go')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    driver.processes[0]?.exit()
    await turn.result.catch(() => undefined)
    const reader = await openPage(all)
    await reader.next()
    expect(Object.values(reader.sections['notices'] ?? {})).toMatchObject([
      { level: 'warn', what: 'worker closed: exited', session: { tenant: 'default', key: 'one' } },
    ])
  })

  test('there are at most 16, another operator cannot turn one, and all end when the server closes', async () => {
    const all = await served({
      ...keyed,
      operators: [...keyed.operators, { name: 'bob', sha256: hashKey(`${OPERATOR}2`) }],
    })
    const key = { 'x-api-key': OPERATOR }
    const readers = await Promise.all(Array.from({ length: 16 }, () => openPage(all, {}, key)))
    expect((await all.ask('GET', '/page/stream', { headers: { ...PAGE, ...key } })).status).toBe(429)
    await readers[0]?.next()
    const turned = await all.ask('POST', '/page/view', {
      headers: { ...OWN, 'x-api-key': `${OPERATOR}2` },
      body: { stream: readers[0]?.hello?.stream, view: {} },
    })
    expect(turned.status).toBe(404)
    all.server.close()
    for (const reader of readers) await reader.ended
  })
})
