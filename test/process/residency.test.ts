import { join } from 'node:path'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { agents, event, openSite, processesOf, record, say, textOf, until, workerOf } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

test('An idle process goes soon after its time, verified, and its session resumes whole', async () => {
  const site = await openSite()
  const pool = await site.pool({ residency: { idleTtlMs: 300 } })
  const session = await pool.session('one', { agent: 'a' })
  const left = event(pool, 'worker.closed')
  await say(session, 'first')
  const { pid } = workerOf(pool, 'one')
  const { worker, reason, exit, termination } = await left
  expect({ reason, exit, termination }).toMatchObject({
    reason: 'idle',
    exit: { cause: 'ended', exitCode: 0 },
    termination: { stage: 'eof', stragglers: 0, left: 0 },
  })
  expect(worker.pid).toBe(pid)
  expect(termination.processes).toBeGreaterThanOrEqual(1)
  expect(await processesOf(site.root)).toEqual([])
  expect(pool.stats()).toMatchObject({ activeSessions: 0, workers: { total: 0 } })
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'resumed' })
})

test.runIf(WHOLE)('A turn that takes longer than the idle time is not swept away', async () => {
  const site = await openSite()
  const pool = await site.pool({ residency: { idleTtlMs: 300 } })
  const left = record(pool, 'worker.closed')
  const session = await pool.session('one', { agent: 'a' })
  const turn = session.send('first\n@sim delay 1500')
  expect(await textOf(turn)).toBe('[turn 1] You said: first')
  expect(left).toEqual([])
  expect((await event(pool, 'worker.closed')).reason).toBe('idle')
})

test.runIf(WHOLE)('Looking at sessions and numbers does not keep an idle process', async () => {
  const site = await openSite()
  const pool = await site.pool({ residency: { idleTtlMs: 300 } })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const left = event(pool, 'worker.closed')
  let over = false
  void left.then(() => (over = true))
  await until(async () => {
    pool.stats()
    pool.workers()
    await session.info()
    await pool.session('one')
    expect(over).toBe(true)
  })
  expect((await left).reason).toBe('idle')
})

test.runIf(WHOLE)('A process leaves when it is too old, and the conversation does not notice', async () => {
  const site = await openSite()
  const pool = await site.pool({ residency: { maxAgeMs: 1_500 } })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  expect((await event(pool, 'worker.closed')).reason).toBe('age')
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'resumed' })
})

test.runIf(WHOLE)('A spare that is too old stays until another is ready', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ spares: { min: 1, max: 1 } }), residency: { maxAgeMs: 2_000 } })
  const { worker: first } = await event(pool, 'worker.ready')
  const second = event(pool, 'worker.ready')
  const left = event(pool, 'worker.closed', ({ worker }) => worker.id === first.id)
  const order: string[] = []
  void second.then(() => order.push('ready'))
  void left.then(() => order.push('left'))
  expect((await left).reason).toBe('age')
  expect((await second).worker.id).not.toBe(first.id)
  expect(order).toEqual(['ready', 'left'])
  await until(() => expect(existsSync(first.cwd)).toBe(false))
})

test.runIf(WHOLE)('With one turn a process, every turn resumes', async () => {
  const site = await openSite()
  const pool = await site.pool({ residency: { maxTurnsPerWorker: 1 } })
  const session = await pool.session('one', { agent: 'a' })
  for (const turn of [1, 2, 3]) {
    const left = event(pool, 'worker.closed')
    expect(await say(session, 'again')).toEqual({
      text: `[turn ${turn}] You said: again`,
      warmth: turn === 1 ? 'cold' : 'resumed',
    })
    expect((await left).reason).toBe('turns')
  }
})

test.runIf(WHOLE)('A process that has grown too large leaves after its turn', async () => {
  const site = await openSite()
  const pool = await site.pool({ residency: { maxMemory: '1MiB' } })
  const session = await pool.session('one', { agent: 'a' })
  const left = event(pool, 'worker.closed')
  await say(session, 'first')
  expect((await left).reason).toBe('memory')
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'resumed' })
})

/** A prompt that leaves a command in the background; it ends when the file is there, or never. */
const background = (file?: string): string => {
  const wait = file === undefined ? 'true' : `!require("fs").existsSync("${file}")`
  const command = `'${process.execPath}' -e 'const t = setInterval(() => { if (!(${wait})) clearInterval(t) }, 50)'`
  return `@sim tool Bash ${JSON.stringify({ command, description: 'wait', run_in_background: true })}`
}

test.runIf(WHOLE)('Work in the background keeps a process, until it has ended', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ allowedTools: ['Bash'] }), residency: { idleTtlMs: 300 } })
  const left = record(pool, 'worker.closed')
  const session = await pool.session('one', { agent: 'a' })
  const file = join(site.root, 'enough')
  await say(session, background(file))
  await until(() => expect(pool.workers()[0]).toMatchObject({ state: 'idle', pinnedBy: { tasks: 1 } }))
  // Another session that leaves for idleness shows that the housekeeper has looked, later than at the first one.
  const other = await pool.session('two', { agent: 'a' })
  await say(other, 'first')
  expect((await event(pool, 'worker.closed')).worker.session).toBe('two')
  expect(left.map(({ worker }) => worker.session)).toEqual(['two'])
  const gone = event(pool, 'worker.closed')
  await writeFile(file, '')
  expect(await gone).toMatchObject({ reason: 'idle', worker: { session: 'one', pinnedBy: undefined } })
})

test.runIf(WHOLE)('Work in the background keeps a process no longer than the limit, and goes with it', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: agents({ allowedTools: ['Bash'] }),
    residency: { idleTtlMs: 300, pinLimitMs: 1_000 },
  })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, background())
  const { reason, worker } = await event(pool, 'worker.closed')
  expect({ reason, session: worker.session }).toEqual({ reason: 'idle', session: 'one' })
  expect(await processesOf(site.root)).toEqual([])
  expect((await say(session, 'next')).text).toContain('You said: next')
})

test.runIf(WHOLE)(
  'A question that nobody answers is over when its turn is interrupted: the process makes room, and is watched again',
  async () => {
    const site = await openSite()
    const asked = Promise.withResolvers<void>()
    const pool = await site.pool({
      limits: { workers: 1 },
      agents: agents({
        canUseTool: () => {
          asked.resolve()
          return new Promise(() => undefined)
        },
      }),
    })
    const session = await pool.session('one', { agent: 'a' })
    const turn = session.send('@sim bash touch file')
    await asked.promise
    expect(pool.workers()).toMatchObject([{ pinnedBy: { permissionRequests: 1 } }])
    await turn.interrupt()
    expect(await textOf(turn)).toBe('error_during_execution')
    expect(pool.workers()).toMatchObject([{ pinnedBy: undefined }])
    await expect(session.send('@sim silence', { limits: { inactivityTimeout: '1s' } }).result).rejects.toMatchObject({
      limit: 'inactivityTimeout',
    })
    const other = await pool.session('two', { agent: 'a' })
    expect((await say(other, 'first')).text).toBe('[turn 1] You said: first')
    const types = (await session.history({ limit: 100 })).map(({ event }) => event.type)
    expect(types).not.toContain('user.tool_confirmation')
  },
)

test.runIf(WHOLE)('A question that nobody answers keeps a process no longer than its turn', async () => {
  const site = await openSite()
  const asked = Promise.withResolvers<void>()
  const pool = await site.pool({
    agents: agents({
      limits: { turnTimeoutMs: 2_000 },
      canUseTool: () => {
        asked.resolve()
        return new Promise(() => undefined)
      },
    }),
    residency: { idleTtlMs: 300, pinLimitMs: 3_000 },
  })
  const session = await pool.session('one', { agent: 'a' })
  await session.warm()
  const turn = session.send('@sim bash touch file')
  await asked.promise
  expect(workerOf(pool, 'one').pid).toBeGreaterThan(0)
  await expect(turn.result).rejects.toMatchObject({ name: 'TurnTimeoutError' })
  expect((await event(pool, 'worker.closed')).reason).toBe('idle')
})
