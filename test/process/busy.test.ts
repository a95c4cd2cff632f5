import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Pool, Session, Turn } from '../../src/index.ts'
import { asked, MODEL, modelAsked, openSite, say, textOf, transcripts, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

async function begin(): Promise<{ site: Site; pool: Pool; session: Session }> {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { model: MODEL, spares: { max: 0 }, allowedTools: ['Bash'] } } })
  return { site, pool, session: await pool.session('one', { agent: 'a' }) }
}

/** A turn that runs until `release()` makes a file that its command waits for. */
async function heldTurn(site: Site, session: Session): Promise<{ turn: Turn; release: () => Promise<void> }> {
  const script = join(site.root, 'wait.mjs')
  const go = join(site.root, 'go')
  await writeFile(
    script,
    `import { existsSync, watch, writeFileSync } from 'node:fs'
     const go = ${JSON.stringify(go)}
     const watcher = watch(${JSON.stringify(site.root)}, check)
     function check() { if (existsSync(go)) watcher.close() }
     writeFileSync(go + '.waiting', '')
     check()`,
  )
  const turn = session.send(`held\n@sim bash '${process.execPath}' ${script}`)
  await until(() => access(`${go}.waiting`))
  return { turn, release: () => writeFile(go, '') }
}

/** Waits until the CLI has taken a prompt that steers: its queue is written into the transcript at once. */
const isQueued = (site: Site, words: string): Promise<void> =>
  until(async () => {
    const texts = await Promise.all((await transcripts(site.dataDir)).map((file) => readFile(file, 'utf8')))
    expect(texts.join('')).toContain(words)
  })

async function readAll(turn: Turn): Promise<string[]> {
  const types: string[] = []
  for await (const { type } of turn) types.push(type)
  return types
}

test('A second turn is refused while one runs, and nothing of it is sent', async () => {
  const { site, session } = await begin()
  const first = session.send('first\n@sim silence')
  await modelAsked(site, 'first')
  const second = session.send('second')
  await expect(second.result).rejects.toMatchObject({
    name: 'SessionBusyError',
    code: 'session_busy',
    message: expect.stringContaining('onBusy'),
  })
  await expect(second.next()).rejects.toMatchObject({ name: 'SessionBusyError' })
  await first.interrupt()
  expect(asked(site, 'second')).toEqual([])
})

test('Of turns that are sent at once, the second is refused, also right after another has ended', async () => {
  const { session } = await begin()
  for (const round of [1, 3]) {
    const [one, two] = [session.send('one'), session.send('two')]
    await expect(two.result).rejects.toMatchObject({ name: 'SessionBusyError' })
    expect(await textOf(one)).toBe(`[turn ${round}] You said: one`)
    expect(await textOf(session.send('three'))).toBe(`[turn ${round + 1}] You said: three`)
  }
})

test.runIf(WHOLE)('Queued turns run in their order, sixteen of them, and one more is refused', async () => {
  const { site, session } = await begin()
  const first = session.send('first\n@sim silence')
  await modelAsked(site, 'first')
  const queued = Array.from({ length: 16 }, (_, index) => session.send(`queued ${index}`, { onBusy: 'queue' }))
  await expect(session.send('too many', { onBusy: 'queue' }).result).rejects.toMatchObject({
    name: 'SessionBusyError',
    message: expect.stringContaining('16 turns'),
  })
  await first.interrupt()
  const texts = await Promise.all(queued.map(textOf))
  expect(texts).toEqual(queued.map((_, index) => `[turn ${index + 2}] You said: queued ${index}`))
})

test.runIf(WHOLE)('A queued turn that is cancelled is never sent, and those behind it go on', async () => {
  const { site, session } = await begin()
  const first = session.send('first\n@sim silence')
  await modelAsked(site, 'first')
  const cancelled = session.send('second', { onBusy: 'queue' })
  const abort = new AbortController()
  const aborted = session.send('third', { onBusy: 'queue', signal: abort.signal })
  const last = session.send('fourth', { onBusy: 'queue' })
  await cancelled.interrupt()
  abort.abort()
  for (const turn of [cancelled, aborted])
    await expect(turn.result).rejects.toMatchObject({ name: 'TurnInterruptedError', code: 'turn_interrupted' })
  await first.interrupt()
  expect(await textOf(last)).toBe('[turn 2] You said: fourth')
  expect([...asked(site, 'second'), ...asked(site, 'third')]).toEqual([])
})

test('A turn may interrupt the one that runs, and comes before those that wait', async () => {
  const { site, session } = await begin()
  const first = session.send('first\n@sim silence')
  await modelAsked(site, 'first')
  const waiting = session.send('waiting', { onBusy: 'queue' })
  const urgent = session.send('urgent', { onBusy: 'interrupt' })
  expect(await textOf(first)).toBe('error_during_execution')
  expect(await textOf(urgent)).toBe('[turn 2] You said: urgent')
  expect(await textOf(waiting)).toBe('[turn 3] You said: waiting')
})

test('A prompt that steers reaches the turn that runs; both iterators get the end, and both results are one', async () => {
  const { site, session } = await begin()
  const { turn, release } = await heldTurn(site, session)
  const steering = session.send('steered', { onBusy: 'steer' })
  const reading = [readAll(turn), readAll(steering)]
  await release()
  const [one, two] = await Promise.all([textOf(turn), textOf(steering)])
  expect(one).toBe(two)
  expect(one).toBe('[turn 2] You said: steered')
  const ends = await Promise.all(reading)
  for (const types of ends) expect(types.at(-1)).toBe('result')
  expect(asked(site, 'steered').length).toBeGreaterThanOrEqual(1)
  expect(await say(session, 'next')).toEqual({ text: '[turn 3] You said: next', warmth: 'live' })
})

test('Prompts that steer reach the model one by one, without the words that the CLI puts around them', async () => {
  const { site, session } = await begin()
  const { turn, release } = await heldTurn(site, session)
  const steering = ['second', 'third\nof two lines'].map((prompt) => session.send(prompt, { onBusy: 'steer' }))
  await isQueued(site, 'third')
  await release()
  const last = '[turn 3] You said: third\nof two lines'
  expect(await Promise.all([turn, ...steering].map(textOf))).toEqual([last, last, last])
  expect(await say(session, 'next')).toEqual({ text: '[turn 4] You said: next', warmth: 'live' })
})

test('A prompt that steers a turn whose answer is under way is answered right after it, in the same turn', async () => {
  const { site, session } = await begin()
  const turn = session.send('first\n@sim tokens 5\n@sim delay 300')
  await modelAsked(site, 'first')
  const steering = session.send('steered', { onBusy: 'steer' })
  const reading = readAll(steering)
  expect(await textOf(steering)).toBe('[turn 2] You said: steered')
  expect(await textOf(turn)).toBe('[turn 2] You said: steered')
  expect((await reading).at(-1)).toBe('result')
  expect((await session.info()).turns).toBe(1)
})

test.runIf(WHOLE)('A prompt that steers where nothing runs is a turn of its own', async () => {
  const { session } = await begin()
  expect(await textOf(session.send('first', { onBusy: 'steer' }))).toBe('[turn 1] You said: first')
  expect(await textOf(session.send('second', { onBusy: 'steer' }))).toBe('[turn 2] You said: second')
})

test('A steered turn is interrupted when the last of its readers leaves, not before', async () => {
  const { site, session } = await begin()
  const { turn, release } = await heldTurn(site, session)
  const steering = session.send('steered', { onBusy: 'steer' })
  await turn.next()
  await turn.return?.()
  expect((await session.info()).state).toBe('busy')
  await release()
  expect(await textOf(steering)).toBe('[turn 2] You said: steered')
})
