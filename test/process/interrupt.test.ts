import { expect, test } from 'vitest'
import { asked, event, modelAsked, openSite, processesOf, say, textOf, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'
import type { Pool, Session } from '../../src/index.ts'

async function live(): Promise<{ site: Site; pool: Pool; session: Session }> {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  return { site, pool, session }
}

test('A turn that is interrupted ends with a result, and its process serves the next', async () => {
  const { site, session } = await live()
  const turn = session.send('second\n@sim silence')
  await modelAsked(site, 'second')
  await turn.interrupt()
  expect(await textOf(turn)).toBe('error_during_execution')
  await until(() => expect(site.simulator.open).toBe(0))
  expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'live' })
})

test('An interrupt right after the prompt stops that turn, and not the next', async () => {
  const { session } = await live()
  for (let round = 0; round < 5; round += 1) {
    const turn = session.send(`round ${round}\n@sim silence`)
    await turn.interrupt()
    const ended = await textOf(turn).catch((error: { code: string }) => error.code)
    expect(['error_during_execution', 'turn_interrupted']).toContain(ended)
    const next = await say(session, `after ${round}`)
    expect(next.text).toMatch(new RegExp(`^\\[turn \\d+\\] You said: after ${round}$`))
    expect(next.warmth).toBe('live')
  }
})

test('An interrupt as soon as the prompt was handed over stops that turn, and not the next', async () => {
  const { pool, session } = await live()
  for (let round = 0; round < 5; round += 1) {
    const started = event(pool, 'turn.started')
    const turn = session.send(`round ${round}\n@sim silence`)
    await started
    await turn.interrupt()
    expect(await textOf(turn)).toBe('error_during_execution')
    expect(await say(session, `after ${round}`)).toMatchObject({
      text: expect.stringContaining(`You said: after ${round}`),
      warmth: 'live',
    })
  }
})

test('An interrupt while the process starts cancels the turn, and the process stays for the next', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  const ready = event(pool, 'worker.ready')
  const started = event(pool, 'worker.started')
  const turn = session.send('first')
  await started
  await turn.interrupt()
  await expect(turn.result).rejects.toMatchObject({ name: 'TurnInterruptedError' })
  await ready
  expect(await say(session, 'second')).toEqual({ text: '[turn 1] You said: second', warmth: 'primed' })
  expect(asked(site, 'first')).toEqual([])
  expect(pool.stats().totals.starts).toBe(1)
})

test('Leaving the loop interrupts the turn, and waits until the process can take the next', async () => {
  const { site, session } = await live()
  const turn = session.send('second\n@sim say partly\n@sim silence')
  for await (const message of turn) if (message.type === 'system') break
  expect(await textOf(turn)).toBe('error_during_execution')
  await until(() => expect(site.simulator.open).toBe(0))
  expect(await say(session, 'third')).toMatchObject({
    text: expect.stringContaining('You said: third'),
    warmth: 'live',
  })
})

test('Leaving the loop of a turn that is to run on lets it run on', async () => {
  const { session } = await live()
  const turn = session.send('second\n@sim delay 300', { onLeave: 'detach' })
  for await (const message of turn) if (message.type === 'system') break
  expect(await textOf(turn)).toBe('[turn 2] You said: second')
  expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'live' })
})

test.runIf(WHOLE)('A turn that nobody reads ends with its result', async () => {
  const { pool, session } = await live()
  const ended = event(pool, 'turn.ended')
  session.send('second')
  expect(await ended).toMatchObject({ outcome: 'success', warmth: 'live', firstMessageMs: expect.any(Number) })
  expect((await session.info()).turns).toBe(2)
})

test.runIf(WHOLE)('A signal that is aborted before the turn sends nothing', async () => {
  const { site, session } = await live()
  const turn = session.send('second', { signal: AbortSignal.abort('not wanted') })
  await expect(turn.result).rejects.toMatchObject({ name: 'TurnInterruptedError', cause: 'not wanted' })
  await expect(turn.next()).rejects.toMatchObject({ name: 'TurnInterruptedError' })
  expect(await say(session, 'third')).toEqual({ text: '[turn 2] You said: third', warmth: 'live' })
  expect(asked(site, 'second')).toEqual([])
})

test('A signal that is aborted in the middle interrupts the turn, which then fails with its reason', async () => {
  const { site, session } = await live()
  const abort = new AbortController()
  const turn = session.send('second\n@sim silence', { signal: abort.signal })
  await modelAsked(site, 'second')
  abort.abort('changed my mind')
  await expect(turn.result).rejects.toMatchObject({ name: 'TurnInterruptedError', cause: 'changed my mind' })
  await until(() => expect(site.simulator.open).toBe(0))
  expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'live' })
})

test.runIf(WHOLE)('A signal that is aborted after the end changes nothing', async () => {
  const { session } = await live()
  const abort = new AbortController()
  const turn = session.send('second', { signal: abort.signal })
  await turn.result
  abort.abort()
  expect(await textOf(turn)).toBe('[turn 2] You said: second')
  expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'live' })
})

test.runIf(WHOLE)('Interrupting twice, or after the end, is harmless', async () => {
  const { site, session } = await live()
  const turn = session.send('second\n@sim silence')
  await modelAsked(site, 'second')
  await Promise.all([turn.interrupt(), turn.interrupt()])
  await turn.result
  await turn.interrupt()
  expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'live' })
})

test('An interrupt ends the command that the agent runs', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { spares: { max: 0 }, allowedTools: ['Bash'] } } })
  const session = await pool.session('one', { agent: 'a' })
  const turn = session.send(`@sim bash '${process.execPath}' -e "setInterval(() => {}, 1000)" held-by-${site.root}`)
  const commands = async (): Promise<string[]> =>
    (await processesOf(site.root)).map(({ command }) => command).filter((command) => command.includes('setInterval'))
  await until(async () => expect(await commands()).not.toEqual([]))
  await turn.interrupt()
  expect(await textOf(turn)).toBe('error_during_execution')
  await until(async () => expect(await commands()).toEqual([]))
  expect(pool.workers()).toHaveLength(1)
})
