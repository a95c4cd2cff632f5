/** What one client or tenant can try against a server and its other tenants. Used by the benchmark and by the tests. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

/** A server, and a key of the tenant that attacks it. */
export interface Attacked {
  url: string
  key: string
  /** How much of everything; 1 is what ended a server before. */
  scale: number
}

type Attack = (target: Attacked) => Promise<void>

const AUTHORITY = /^http:\/\/([^:/]+):(\d+)/

async function open({ url }: Attacked): Promise<Socket> {
  const [, host = '', port = ''] = AUTHORITY.exec(url) ?? []
  const socket = connect({ host, port: Number(port) })
  socket.on('error', () => undefined).resume()
  await once(socket, 'connect').catch(() => undefined)
  return socket
}

async function closeAll(sockets: readonly Socket[]): Promise<void> {
  const closed = sockets.map(async (socket) => (socket.closed ? undefined : once(socket, 'close')))
  for (const socket of sockets) socket.destroy()
  await Promise.all(closed)
}

/** Sends a request and reads its answer; what a server that closes the connection says of it is no error here. */
async function ask(
  { url, key }: Attacked,
  path: string,
  { method = 'POST', body, headers = {} }: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<string> {
  try {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { 'x-api-key': key, ...headers },
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.timeout(120_000),
    })
    return await response.text()
  } catch (error) {
    return String(error)
  }
}

const times = (count: number, scale: number): number => Math.max(1, Math.round(count * scale))

const session = { agent: 'agent_assistant', environment_id: 'env_local' }

async function begin(target: Attacked): Promise<string> {
  const { id = 'none' } = JSON.parse(await ask(target, '/v1/sessions', { body: JSON.stringify(session) })) as {
    id?: string
  }
  return id
}

const definition = (schema: string): string =>
  `{"name":"x","model":"claude-sonnet-5","tools":[{"type":"custom","name":"t","description":"d","input_schema":${schema}}]}`

/** Each by its name. */
export const ATTACKS: Readonly<Record<string, Attack>> = {
  async 'connections without a key'(target) {
    const sockets = await Promise.all(Array.from({ length: times(1_500, target.scale) }, () => open(target)))
    await ask(target, '/livez', { method: 'GET' })
    await closeAll(sockets)
  },
  async 'requests that never end'(target) {
    const sockets = await Promise.all(Array.from({ length: times(600, target.scale) }, () => open(target)))
    for (const [index, socket] of sockets.entries())
      socket.write(
        index % 2 === 0
          ? 'GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\nX-'
          : `POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: ${target.key}\r\nContent-Length: 30000000\r\n\r\n{"name":"`,
      )
    await ask(target, '/livez', { method: 'GET' })
    await closeAll(sockets)
  },
  async 'a body of keys'(target) {
    const keys = Array.from({ length: times(2_500_000, target.scale) }, (_, index) => `"k${index}":1`).join()
    await ask(target, '/v1/sessions/none/events', { body: definition(`{"type":"object",${keys}}`) })
  },
  async 'a body of brackets'(target) {
    await ask(target, '/v1/sessions/none/events', { body: '['.repeat(times(5_000_000, target.scale)) })
  },
  async 'a body of numbers'(target) {
    await ask(target, '/ag-ui/assistant', { body: `{"state":[${'1,'.repeat(times(15_000_000, target.scale))}1]}` })
  },
  async 'lists of large agents'(target) {
    const schema = (bytes: number): string => `{"type":"object","x":"${'x'.repeat(bytes)}"}`
    for (let number = 0; number < times(24, target.scale); number += 1) {
      await ask(target, '/v1/agents', { body: definition(schema(12_000_000)) })
      await ask(target, '/v1/agents', { body: definition(schema(1_000_000)) })
    }
    await Promise.all(Array.from({ length: 4 }, () => ask(target, '/v1/agents?limit=100', { method: 'GET' })))
  },
  async 'lists of large events'(target) {
    const id = await begin(target)
    const events = [{ type: 'system.message', content: [{ type: 'text', text: 'x'.repeat(12_000_000) }] }]
    const body = JSON.stringify({ events })
    for (let number = 0; number < times(24, target.scale); number += 1)
      await ask(target, `/v1/sessions/${id}/events`, { body })
    const list = `/v1/sessions/${id}/events?limit=1000`
    await Promise.all([list, `${list}&order=desc`].map((path) => ask(target, path, { method: 'GET' })))
    await ask(target, `/v1/sessions/${id}`, { method: 'DELETE' })
  },
  async 'large bodies at once'(target) {
    const body = JSON.stringify({
      events: [{ type: 'user.message', content: 'x'.repeat(times(25_000_000, target.scale)) }],
    })
    await Promise.all(Array.from({ length: 12 }, () => ask(target, '/v1/sessions/none/events', { body })))
  },
  async 'requests that smuggle others'(target) {
    const { key } = target
    const inner = `GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: ${key}\r\n\r\n`
    const head = `POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: ${key}\r\n`
    const pieces = [
      `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
      `${head}Content-Length: 5\r\nContent-Length: 500\r\n\r\n{}   ${inner}`,
      `${head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${inner}`,
      `${head}Transfer-Encoding : chunked\r\n\r\nffffffffffffffff\r\n${inner}`,
      `GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: ${key}\nX-Other: 1\r\n\r\n`,
      `GET http://elsewhere/v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      `GET /..%2f..%2fv1/sessions HTTP/1.1\r\n\r\n`,
      inner.repeat(2_000),
      '\0'.repeat(1_000),
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    ]
    const sockets = await Promise.all(pieces.map(() => open(target)))
    for (const [index, socket] of sockets.entries()) socket.write(pieces[index] ?? '')
    await ask(target, '/livez', { method: 'GET' })
    await closeAll(sockets)
  },
  async 'guesses at what others have'(target) {
    for (let number = 0; number < times(100, target.scale); number += 1) {
      const id = `sesn_${number.toString(36).padStart(24, '0')}`
      await ask(target, `/v1/sessions/${id}`, { method: 'GET' })
      await ask(target, `/sessions/victim/messages?agent=${id}`, { body: '{"prompt":"hello"}' })
      await ask(target, `/v1/sessions/..%2f${id}/events`, { method: 'GET', headers: { authorization: 'Bearer a.b.c' } })
    }
  },
}
