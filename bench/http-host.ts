/**
 * A host of event streams: the pool's server, or a bare Hono route. Arguments: directory, `pool` or `bare`, data directory. It says where it
 * listens, then does what it is told.
 */
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { systemClock } from '../src/clock.ts'
import { createServer, listen } from '../src/server/index.ts'
import { FakeDriver } from '../src/testing/driver.ts'
import { startPool } from './shared/conversation.ts'
import { eventText } from './shared/streams.ts'

const HEARTBEAT_MS = 15_000

/** What a host is told to do. */
export type Order =
  | { do: 'memory' }
  | { do: 'cpu' }
  | { do: 'append'; session: string; count: number; batch: number; bytes: number; everyMs: number }

interface Host {
  url: string
  append: (session: string, texts: string[]) => Promise<void>
}

const [dir = '', side, dataDir = ''] = process.argv.slice(2)

async function pooled(): Promise<Host> {
  const pool = await startPool({ dir, url: 'http://127.0.0.1:9' }, { dataDir, driver: new FakeDriver(systemClock) })
  const server = createServer(pool, {
    tenantLimits: { requestsPerMinute: 10_000_000, streams: 10_000 },
    resourceFile: join(dataDir, 'api.sqlite'),
  })
  const { url } = await listen(server, { port: 0 })
  return {
    url,
    async append(key, texts) {
      const session = await pool.session(key)
      await session.append(texts.map((text) => ({ type: 'system.message', content: [{ type: 'text', text }] })))
    },
  }
}

/** What one writes who has no pool: events in an array, and a stream that takes them from there. */
async function bare(): Promise<Host> {
  const frames: Uint8Array<ArrayBuffer>[] = []
  let added = Promise.withResolvers<void>()
  const app = new Hono()
  app.get('/stream', (c) => {
    let next = frames.length
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        async pull(controller) {
          while (next >= frames.length) await added.promise
          controller.enqueue(frames[next] as Uint8Array<ArrayBuffer>)
          next += 1
        },
      },
      { highWaterMark: 0 },
    )
    return c.body(body, 200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  })
  app.get('/idle', (c) =>
    streamSSE(c, async (stream) => {
      while (!stream.aborted) {
        await stream.sleep(HEARTBEAT_MS)
        await stream.writeSSE({ event: 'ping', data: '{"type":"ping"}' })
      }
    }),
  )
  const http = createAdaptorServer({ fetch: app.fetch, createServer: createHttpServer })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const encoder = new TextEncoder()
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    append(_, texts) {
      for (const text of texts) {
        const id = `sevt_${String(frames.length).padStart(24, '0')}`
        const event = {
          processed_at: new Date().toISOString(),
          type: 'system.message',
          content: [{ type: 'text', text }],
          id,
        }
        frames.push(
          encoder.encode(`event: system.message\nid: ${frames.length + 1}\ndata: ${JSON.stringify(event)}\n\n`),
        )
      }
      added.resolve()
      added = Promise.withResolvers<void>()
      return Promise.resolve()
    },
  }
}

async function memory(): Promise<number> {
  for (let turn = 0; turn < 4; turn += 1) {
    globalThis.gc?.()
    await sleep(100)
  }
  return process.memoryUsage.rss()
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

const host = side === 'pool' ? await pooled() : await bare()

async function obey(order: Order): Promise<number> {
  if (order.do === 'memory') return memory()
  if (order.do === 'cpu') return cpuSeconds()
  const { session, count, batch, bytes, everyMs } = order
  for (let sent = 0; sent < count; sent += batch) {
    await host.append(
      session,
      Array.from({ length: batch }, () => eventText(bytes)),
    )
    await (everyMs > 0 ? sleep(everyMs) : immediate())
  }
  return count
}

process.on('message', (order: Order) => {
  void obey(order).then((value) => process.send?.(value))
})
// Streams are open and a pool is: nobody waits for either.
process.once('disconnect', () => process.exit())
process.send?.(host.url)
