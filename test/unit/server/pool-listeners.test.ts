import { onTestFinished, expect, test } from 'vitest'
import { createServer } from '../../../src/server/index.ts'
import { PoolListeners } from '../../../src/server/pool-listeners.ts'
import { ClientTools } from '../../../src/server/ag-ui/client-tools.ts'
import { Questions } from '../../../src/server/questions.ts'
import type { Pool, PoolEvents } from '../../../src/index.ts'
import { fakes } from '../../fixtures/fakes.ts'

type Name = keyof PoolEvents

/** A pool that counts its listeners by event. */
function counted(pool: Pool): { pool: Pool; counts: () => Record<string, number> } {
  const listeners: [Name, unknown][] = []
  const on = (name: Name, listener: never): Pool => {
    listeners.push([name, listener])
    return pool.on(name, listener)
  }
  const off = (name: Name, listener: never): Pool => {
    const at = listeners.findIndex(([other, one]) => other === name && one === listener)
    if (at !== -1) listeners.splice(at, 1)
    return pool.off(name, listener)
  }
  const proxy = new Proxy(pool, {
    get(target, property) {
      if (property === 'on') return on
      if (property === 'off') return off
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return {
    pool: proxy,
    counts: () =>
      Object.fromEntries(
        Object.entries(Object.groupBy(listeners, ([name]) => name)).map(([name, all]) => [name, all.length]),
      ),
  }
}

test('a server that is closed has no listener left at its pool', async () => {
  const { pool, counts } = counted((await fakes()).pool)
  const questions = new Questions()
  for (let number = 0; number < 30; number += 1) {
    const server = createServer(pool, { questions, clientTools: new ClientTools(questions) })
    expect(Object.keys(counts())).toEqual(expect.arrayContaining(['session.deleted', 'turn.started']))
    server.close()
    expect(counts()).toEqual({})
  }
})

test('any number of servers count as one listener of their pool for each event', async () => {
  const warnings: string[] = []
  const noted = ({ name }: Error): void => void warnings.push(name)
  process.on('warning', noted)
  onTestFinished(() => void process.off('warning', noted))
  const { pool, counts } = counted((await fakes()).pool)
  const servers = Array.from({ length: 30 }, () => createServer(pool))
  expect(new Set(Object.values(counts()))).toEqual(new Set([1]))
  // Node tells its warnings in a later tick.
  await new Promise((resolve) => setImmediate(resolve))
  expect(warnings).toEqual([])
  for (const server of servers.slice(1)) server.close()
  expect(new Set(Object.values(counts()))).toEqual(new Set([1]))
  servers[0]?.close()
  expect(counts()).toEqual({})
})

test('a closed server hears no more of its pool', async () => {
  const all = await fakes()
  const server = createServer(all.pool)
  const made = await server.fetch(
    new Request('http://localhost/v1/sessions', {
      method: 'POST',
      body: JSON.stringify({ agent: 'agent_assistant', environment_id: 'env_local' }),
    }),
  )
  const { id } = (await made.json()) as { id: string }
  server.close()
  await (await all.pool.session(id)).delete()
  await all.clock.settle()
  expect(all.told('warning')).toEqual([])
})

test('a listener that throws keeps no other from hearing the event, and the pool reports it', async () => {
  const { pool, told } = await fakes()
  const heard: string[] = []
  const listeners = new PoolListeners(pool)
  onTestFinished(() => listeners.close())
  listeners.on('session.created', () => {
    throw new Error('broken')
  })
  listeners.on('session.created', ({ session }) => heard.push(session.key))
  await pool.session('s', { agent: 'assistant' })
  expect(heard).toEqual(['s'])
  expect(told('warning')).toMatchObject([{ error: { message: 'broken' } }])
})
