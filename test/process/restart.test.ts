import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { SqliteStore } from '../../src/store/sqlite.ts'
import {
  agents,
  asked,
  isWritten,
  modelAsked,
  openSite,
  processesOf,
  say,
  until,
  workerOf,
} from '../fixtures/real-pool.ts'
import { startHost } from '../fixtures/other-host.ts'
import { WHOLE } from '../fixtures/whole.ts'

test('A new pool on the same directory goes on with the sessions of the old one, by their keys', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const first = await site.pool()
  const one = await first.session('one', { agent: 'a' })
  await say(one, 'first')
  const two = await first.session('two', { agent: 'a', cwd, tenant: 'acme' })
  await say(two, 'first')
  const unused = await first.session('unused', { agent: 'a' })
  const before = await Promise.all([one.info(), two.info(), unused.info()])
  await first.close()
  const second = await site.pool()
  expect(await second.sessions()).toEqual(
    before.toSorted((a, b) => a.tenant.localeCompare(b.tenant)).map((info) => ({ ...info, state: 'hibernated' })),
  )
  expect(await say(await second.session('one'), 'second')).toEqual({
    text: '[turn 2] You said: second',
    warmth: 'resumed',
  })
  const again = await second.session('two', { tenant: 'acme' })
  expect((await say(again, 'second')).text).toBe('[turn 2] You said: second')
  expect((await again.info()).cwd).toBe(cwd)
  expect(await say(await second.session('unused'), 'first')).toEqual({
    text: '[turn 1] You said: first',
    warmth: 'cold',
  })
})

test('A second host is refused, with the pid of the first, until that is gone', async () => {
  const site = await openSite()
  const first = startHost(site)
  await first.open()
  await expect(site.pool()).rejects.toMatchObject({
    name: 'HostRunningError',
    code: 'host_running',
    pid: first.pid,
    message: expect.stringContaining(`process ${first.pid} already runs a pool on ${site.dataDir}`),
  })
  const third = startHost(site)
  await expect(third.open()).rejects.toMatchObject({ name: 'HostRunningError', pid: first.pid })
  await first.ask({ do: 'close' })
  await third.open()
  await expect(site.pool()).rejects.toMatchObject({ pid: third.pid })
})

test.runIf(WHOLE)('A second pool of the same process on the same directory is refused too', async () => {
  const site = await openSite()
  const first = await site.pool()
  await expect(site.pool()).rejects.toMatchObject({ name: 'HostRunningError', pid: process.pid })
  await first.close()
  const second = await site.pool()
  expect((await say(await second.session('one', { agent: 'a' }), 'first')).text).toBe('[turn 1] You said: first')
})

test.runIf(WHOLE)('A host that is killed while it is idle leaves directory and sessions to the next', async () => {
  const site = await openSite()
  const first = startHost(site)
  await first.open()
  expect(await first.ask({ do: 'say', key: 'one', text: 'first' })).toMatchObject({ warmth: 'cold' })
  await first.kill()
  const pool = await site.pool()
  expect(await say(await pool.session('one'), 'second')).toEqual({
    text: '[turn 2] You said: second',
    warmth: 'resumed',
  })
})

test('A host that is killed in the middle of a turn leaves no process, and its session resumes without a repeat', async () => {
  const site = await openSite()
  const first = startHost(site)
  await first.open()
  await first.ask({ do: 'say', key: 'one', text: 'first' })
  await first.ask({ do: 'send', key: 'one', text: 'second\n@sim silence' })
  await modelAsked(site, 'second')
  await isWritten(site, 'second')
  await first.kill()
  const pool = await site.pool()
  await until(async () => expect(await processesOf(site.root)).toEqual([]))
  expect(await say(await pool.session('one'), 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'resumed' })
  expect(asked(site, 'second')).toHaveLength(1)
})

test.runIf(WHOLE)(
  'A host that is killed before its first prompt was written down leaves a session that begins anew',
  async () => {
    const site = await openSite()
    const first = startHost(site)
    await first.open()
    await first.ask({ do: 'send', key: 'one', text: 'first' })
    await until(async () => expect(await first.ask({ do: 'workers' })).toMatchObject([{ session: 'one' }]))
    await first.kill()
    await until(async () => expect(await processesOf(site.root)).toEqual([]))
    const pool = await site.pool()
    expect((await say(await pool.session('one'), 'second')).text).toMatch(/^\[turn [12]\] You said: second$/)
  },
)

test('A session that another host claims in mid-turn loses its process and stores no more; the others go on', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ allowedTools: ['Bash'] }) })
  const cwd = await site.directory('project')
  const one = await pool.session('one', { agent: 'a', cwd })
  const two = await pool.session('two', { agent: 'a' })
  await say(two, 'first')
  const turn = one.send('first\n@sim bash until [ -e go ]; do sleep 0.1; done')
  const outcome = turn.result.catch((error: unknown) => error)
  for await (const { event } of one.events()) if (event.type === 'agent.tool_use') break
  const { pid } = workerOf(pool, 'one')
  const other = new SqliteStore(join(site.dataDir, 'pool.sqlite'))
  onTestFinished(() => other.close())
  const { uid = '' } = (await other.get('default', 'one')) ?? {}
  const owner = await other.register('data directory')
  const { claim, lastEvent } = await other.claim(uid, owner)
  await writeFile(join(cwd, 'go'), '')
  expect(await outcome).toMatchObject({ name: 'FencedError', code: 'fenced', owner })
  await until(async () => expect((await processesOf(site.root)).map((process) => process.pid)).not.toContain(pid))
  expect(await other.eventTotals(uid)).toMatchObject({ last: lastEvent })
  const next = { number: lastEvent + 1, id: 'of the other host', type: 'session.error', at: 0, json: '{}' }
  await other.appendEvents(claim, [next], 'closed')
  expect(await say(two, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'live' })
})
