import { expect, onTestFinished, test } from 'vitest'
import { SqliteApiStore } from '../../../../../src/server/api-store/sqlite.ts'
import type { Outcome } from '../../../../../src/server/managed-agents/webhooks/attempt.ts'
import { newDelivery } from '../../../../../src/server/managed-agents/webhooks/delivery.ts'
import type { Delivery } from '../../../../../src/server/managed-agents/webhooks/delivery.ts'
import { DeliveryLog } from '../../../../../src/server/managed-agents/webhooks/delivery-log.ts'
import { EndpointStates } from '../../../../../src/server/managed-agents/webhooks/endpoint-state.ts'
import { readEndpoints } from '../../../../../src/server/managed-agents/webhooks/options.ts'
import type { Endpoint } from '../../../../../src/server/managed-agents/webhooks/options.ts'
import { WebhookQueue } from '../../../../../src/server/managed-agents/webhooks/queue.ts'
import { Outlet } from '../../../../../src/server/managed-agents/webhooks/outlet.ts'
import { FakeClock } from '../../../../../src/testing/index.ts'
import { webhookReceiver } from '../../../../fixtures/webhook-receiver.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

function stored(): { store: SqliteApiStore['resources']; clock: FakeClock } {
  const all = new SqliteApiStore(':memory:')
  onTestFinished(() => all.close())
  return { store: all.resources, clock: new FakeClock() }
}

const delivery = (at: number, id = 'sesn_1', place = at): Delivery =>
  newDelivery({
    tenant: 't',
    endpoint: 'all/ci',
    told: { type: 'session.created', id },
    event: `event_${id}_${place}`,
    at,
    place,
  })

/** A queue, what it has sent and when, in milliseconds since its start. */
async function queue(
  { store, clock }: ReturnType<typeof stored>,
  send: (event: string) => Outcome | 'full' | 'disabled',
): Promise<{ outlet: Outlet; sent: [event: string, at: number][] }> {
  const sent: [string, number][] = []
  const outlet = new Outlet({
    tenant: 't',
    endpoint: 'all/ci',
    store,
    clock,
    random: () => 1,
    send({ kept }) {
      const outcome = send(kept.event)
      if (typeof outcome === 'string') return outcome
      sent.push([kept.event, clock.now()])
      return Promise.resolve(outcome)
    },
    told: () => undefined,
    trouble(error) {
      throw error
    },
  })
  onTestFinished(() => outlet.close())
  outlet.load()
  await clock.settle()
  return { outlet, sent }
}

const FAILED: Outcome = { ok: false, status: 500, error: 'no' }
const DELIVERED: Outcome = { ok: true, status: 200 }

test('a wait doubles from 5 s to an hour, and after a day the event is given up and the next of its session goes', async () => {
  const all = stored()
  const [first, second] = [delivery(all.clock.wall()), delivery(all.clock.wall(), 'sesn_1', all.clock.wall() + 1)]
  for (const { row } of [first, second]) await all.store.create(row)
  const { sent } = await queue(all, (event) => (event === first.kept.event ? FAILED : DELIVERED))
  await all.clock.advance(DAY)
  const tries = sent.filter(([event]) => event === first.kept.event).map(([, at]) => at)
  const waits = tries.slice(1).map((at, index) => (at - (tries[index] as number)) / 1_000)
  expect(waits.slice(0, 11)).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600])
  expect(sent.at(-1)?.[0]).toBe(second.kept.event)
  const rows = await all.store.list({
    kind: 'webhook_delivery',
    tenant: 't',
    order: 'asc',
    includeArchived: true,
    limit: 9,
    maxSize: 1e6,
  })
  expect(rows.rows.map(({ body }) => JSON.parse(body) as object)).toMatchObject([
    { status: 'failed', attempts: tries.length, lastStatus: 500, lastError: 'no' },
    { status: 'delivered', attempts: 1, lastError: null },
  ])
})

test('a session whose event is tried again holds up no other session', async () => {
  const all = stored()
  const [stuck, free] = [
    delivery(all.clock.wall(), 'sesn_1'),
    delivery(all.clock.wall(), 'sesn_2', all.clock.wall() + 1),
  ]
  for (const { row } of [stuck, free]) await all.store.create(row)
  const { sent } = await queue(all, (event) => (event === stuck.kept.event ? FAILED : DELIVERED))
  expect(sent.map(([event]) => event)).toEqual([stuck.kept.event, free.kept.event])
})

test('what waits behind a disabled endpoint is given up after a day; what waited for a host is tried first', async () => {
  const all = stored()
  const late = delivery(all.clock.wall() - DAY)
  await all.store.create(late.row)
  let state: 'full' | 'disabled' | 'open' = 'full'
  const { outlet, sent } = await queue(all, () => (state === 'open' ? DELIVERED : state))
  const statusOf = async (): Promise<unknown> =>
    (JSON.parse((await all.store.get('webhook_delivery', 't', late.row.id))?.body ?? '{}') as { status?: string })
      .status
  expect(await statusOf()).toBe('pending')
  const other = delivery(all.clock.wall(), 'sesn_2')
  await all.store.create(other.row)
  state = 'disabled'
  outlet.load()
  await all.clock.settle()
  expect([await statusOf(), sent]).toEqual(['failed', []])
  state = 'open'
  outlet.pump()
  await all.clock.settle()
  expect(sent).toMatchObject([[other.kept.event, 0]])
})

test('more than fits into memory is sent in the end, in order', async () => {
  const all = stored()
  for (let place = 0; place < 1_200; place += 1)
    await all.store.create(delivery(all.clock.wall(), `sesn_${place % 3}`, place).row)
  const { sent } = await queue(all, () => DELIVERED)
  await all.clock.settle()
  for (const session of ['sesn_0', 'sesn_1', 'sesn_2']) {
    const places = sent.flatMap(([event]) =>
      event.startsWith(`event_${session}_`) ? Number(event.split('_').at(-1)) : [],
    )
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(new Set(places).size).toBe(400)
  }
})

test('a delivery that another host has settled is not sent again', async () => {
  const all = stored()
  const made = delivery(all.clock.wall())
  await all.store.create(made.row)
  const { outlet, sent } = await queue(all, () => FAILED)
  await all.store.remove('webhook_delivery', 't', made.row.id)
  await all.clock.advance(HOUR)
  expect(sent).toHaveLength(2)
  expect(outlet.waiting).toBe(0)
})

const [endpoint] = readEndpoints({
  webhooks: { ci: { url: 'https://hooks.example/', secret: `whsec_${Buffer.alloc(32).toString('base64')}` } },
}) as [Endpoint]

test('an endpoint that has only failed for three days is disabled; one that works in between is not', async () => {
  const { store, clock } = stored()
  const states = new EndpointStates(store, () => clock.wall())
  const fails = async (): Promise<boolean> =>
    (await states.failed(endpoint, { status: null, error: 'refused' })).disabledAt !== null
  expect(await fails()).toBe(false)
  await clock.advance(2 * DAY)
  expect(await fails()).toBe(false)
  await states.succeeded(endpoint)
  await clock.advance(DAY)
  expect(await fails()).toBe(false)
  await clock.advance(3 * DAY - 1)
  expect(await fails()).toBe(false)
  await clock.advance(1)
  expect(await fails()).toBe(true)
  expect(await states.of(endpoint)).toMatchObject({
    reason: expect.stringMatching(/^no delivery since 2026.*: refused$/),
  })
  expect(await states.enable(endpoint)).toEqual({ failingSince: null, disabledAt: null, reason: null })
  expect(await fails()).toBe(false)
})

test('deliveries are kept for seven days', async () => {
  const { store, clock } = stored()
  const log = new DeliveryLog(store, clock)
  const add = async (): Promise<void> => {
    const made = delivery(clock.wall())
    expect(await log.takes(made)).toBe(true)
    await store.create({ ...made.row, archivedAt: clock.wall() })
  }
  await add()
  await clock.advance(7 * DAY - 1)
  await add()
  expect(await store.count('webhook_delivery', 't')).toBe(2)
  await clock.advance(HOUR)
  await add()
  expect(await store.count('webhook_delivery', 't')).toBe(2)
})

test('a tenant has 20,000 deliveries at most: the oldest that are done go first, and then new ones are not kept', async () => {
  const { store, clock } = stored()
  for (let place = 0; place < 16_000; place += 1) {
    const { row } = delivery(clock.wall(), 'sesn_1', clock.wall() + place)
    await store.create({ ...row, archivedAt: place < 500 ? clock.wall() : null })
  }
  const log = new DeliveryLog(store, clock)
  expect(await log.takes(delivery(clock.wall()))).toBe(true)
  expect(await store.count('webhook_delivery', 't')).toBe(15_500)
  for (let more = 1; more < 4_500; more += 1) expect(await log.takes(delivery(clock.wall()))).toBe(true)
  expect([await log.takes(delivery(clock.wall())), log.dropped]).toEqual([false, 1])
})

test('of the hosts of a cluster one sends, and another one goes on when that is gone', async () => {
  const { store, clock } = stored()
  const receiver = await webhookReceiver()
  const secret = `whsec_${Buffer.alloc(32).toString('base64')}`
  const endpoints = readEndpoints({ webhooks: { ci: { url: receiver.url, secret, allowPrivate: true } } })
  let holder = 'one'
  const asked: string[] = []
  const queueOf = (host: string): WebhookQueue => {
    const takeJob = async (name: string): Promise<boolean> => {
      asked.push(`${host} ${name}`)
      return holder === host
    }
    const logger = { debug() {}, info() {}, warn() {}, error() {} }
    const pool = { cluster: { isValid: true, takeJob } as never }
    const queue = new WebhookQueue({ pool, store, clock, logger, endpointsOf: () => endpoints, random: () => 1 })
    onTestFinished(() => queue.close())
    return queue
  }
  const [one, two] = [queueOf('one'), queueOf('two')]
  await clock.settle()
  await two.add(delivery(clock.wall()))
  await clock.advance(2_000)
  await receiver.until(({ length }) => length === 1)
  await expect.poll(() => [one.counts.delivered, two.counts.delivered]).toEqual([1, 0])
  holder = 'two'
  await one.add(delivery(clock.wall(), 'sesn_2'))
  await clock.advance(2_000)
  await receiver.until(({ length }) => length === 2)
  await expect.poll(() => [one.counts.delivered, two.counts.delivered]).toEqual([1, 1])
  expect(new Set(asked)).toEqual(new Set(['one webhooks', 'two webhooks']))
})
