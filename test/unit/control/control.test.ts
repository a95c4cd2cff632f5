import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { dirname, join } from 'node:path'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { ask, connectTo } from '../../../src/control/client.ts'
import type { Operation } from '../../../src/control/operations.ts'
import { controlOf } from '../../../src/store/data-dir.ts'
import { fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

/** By path of the socket. */
const secrets = new Map<string, string>()

/** A pool, and where it can be asked. */
async function host(dataDir: string): Promise<Fakes & { path: string }> {
  const setup = await fakes({ dataDir })
  const { path = '', secret = '' } = controlOf(dataDir) ?? {}
  secrets.set(path, secret)
  for (;;) {
    const socket = await connectTo(path)
    if (socket === undefined) continue
    socket.destroy()
    return { ...setup, path }
  }
}

async function* from(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines
}

/** Asks in a connection of its own. */
async function asked(
  path: string,
  operation: Operation,
  input: string[] = [],
  secret: string | undefined = secrets.get(path),
): Promise<{ lines: string[]; value: unknown }> {
  const socket = await connectTo(path)
  if (socket === undefined) throw new Error('nobody listens')
  const lines: string[] = []
  const work = ask(socket, { operation, input: from(input), secret })
  for (;;) {
    const next = await work.next()
    if (next.done === true) return { lines, value: next.value }
    lines.push(next.value)
  }
}

test('A running pool answers, to its user alone', async () => {
  const { path, session } = await host(await temporaryFolder())
  await session('k')
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect((await asked(path, { do: 'list', page: {} })).value).toMatchObject([{ key: 'k', state: 'hibernated' }])
  expect((await asked(path, { do: 'host' })).value).toMatchObject({ pid: process.pid, stats: { activeSessions: 0 } })
  expect((await asked(path, { do: 'show', tenant: 'default', key: 'k' })).value).toMatchObject({ key: 'k' })
})

test('What goes wrong is the same error as in the pool', async () => {
  const { path } = await host(await temporaryFolder())
  await expect(asked(path, { do: 'show', tenant: 'default', key: 'none' })).rejects.toMatchObject({
    name: 'SessionGoneError',
    code: 'session_not_found',
  })
  await expect(asked(path, { do: 'list', page: { limit: 0 } })).rejects.toMatchObject({
    name: 'ConfigError',
    path: 'limit',
  })
  await expect(asked(path, { do: 'dance' } as never)).rejects.toMatchObject({
    message: expect.stringContaining('"dance"'),
  })
})

test('A session goes out through the socket, and in again', async () => {
  const { path, session, pool } = await host(await temporaryFolder())
  const handle = await session('k')
  await handle.send('Hello').result
  await handle.hibernate()
  const { cwd = '' } = await handle.info()
  writeFileSync(join(cwd, 'file'), Buffer.alloc(2_500_000, 'x'))
  const { lines } = await asked(path, { do: 'export', tenant: 'default', key: 'k', workspace: true })
  await asked(path, { do: 'delete', tenant: 'default', key: 'k' })
  expect(await pool.sessions()).toEqual([])
  await asked(path, { do: 'import', options: { key: 'again' } }, lines)
  const { cwd: place = '', turns } = await (await pool.session('again')).info()
  expect([turns, statSync(join(place, 'file')).size]).toEqual([1, 2_500_000])
})

test('Closing the pool ends connections and removes the socket', async () => {
  const { path, pool } = await host(await temporaryFolder())
  const socket = await connectTo(path)
  const closed = once(socket ?? expect.unreachable(), 'close')
  await pool.close()
  await closed
  expect(existsSync(path)).toBe(false)
  expect(await connectTo(path)).toBeUndefined()
})

test('What a host that died has left is replaced', async () => {
  const dataDir = await temporaryFolder()
  mkdirSync(join(dataDir, 'run'), { recursive: true, mode: 0o700 })
  writeFileSync(join(dataDir, 'run', 'control.sock'), 'stale')
  const { path } = await host(dataDir)
  expect((await asked(path, { do: 'list', page: {} })).value).toEqual([])
})

test('A data directory with too long a path has its socket elsewhere, in a folder of the user alone', async () => {
  const dataDir = join(await temporaryFolder(), 'a'.repeat(60), 'b'.repeat(60))
  const { path, pool } = await host(dataDir)
  expect(path.startsWith(dataDir)).toBe(false)
  expect(statSync(dirname(path)).mode & 0o777).toBe(0o700)
  expect((await asked(path, { do: 'list', page: {} })).value).toEqual([])
  await pool.close()
  expect(existsSync(path)).toBe(false)
})

test('Who says nothing that it knows is cut off, and others are served', async () => {
  const { path } = await host(await temporaryFolder())
  const socket = createConnection(path)
  socket.on('error', () => undefined)
  socket.write('GET / HTTP/1.1\n\n')
  await once(socket, 'close')
  expect((await asked(path, { do: 'list', page: {} })).value).toEqual([])
})

test('More connections than sixteen are turned away', async () => {
  const { path } = await host(await temporaryFolder())
  const sockets = await Promise.all(Array.from({ length: 16 }, () => connectTo(path)))
  const one = await connectTo(path)
  if (one !== undefined) await once(one, 'close')
  for (const socket of sockets) socket?.destroy()
})

test('A host that ended in order is not asked for', async () => {
  const dataDir = await temporaryFolder()
  const { pool } = await host(dataDir)
  expect(JSON.parse(readFileSync(join(dataDir, 'host.json'), 'utf8'))).toMatchObject({ pid: process.pid })
  await pool.close()
  expect(controlOf(dataDir)).toBeUndefined()
})

test('Only a request with the secret is answered, and only this user can read it', async () => {
  const dataDir = await temporaryFolder()
  const { path, pool, session } = await host(dataDir)
  await session('k')
  for (const secret of [undefined, '', 'guess', `${secrets.get(path)}x`]) {
    const refused = asked(path, { do: 'delete', tenant: 'default', key: 'k' }, [], secret ?? '')
    await expect(refused).rejects.toThrow('answers only with the secret in host.json')
  }
  expect(await pool.sessions()).toHaveLength(1)
  expect(statSync(join(dataDir, 'host.json')).mode & 0o777).toBe(0o600)
  expect(secrets.get(path)).toMatch(/^[0-9a-f]{64}$/)
})

test('A request that is too long to be one ends its connection', async () => {
  const { path } = await host(await temporaryFolder())
  const socket = createConnection(path)
  socket.on('error', () => undefined).resume()
  await once(socket, 'connect')
  const closed = once(socket, 'close')
  socket.write('x'.repeat(70_000))
  await closed
})
