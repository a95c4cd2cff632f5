import { expect, test, vi } from 'vitest'
import type { Session, SessionEvent } from '../../../src/index.ts'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { answer, fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

interface Begun extends Fakes {
  handle: Session
  process: FakeProcess
}

/** A session after its first turn. */
async function begun(options: Parameters<typeof fakes>[0] = {}): Promise<Begun> {
  const all = await fakes(options)
  const handle = await all.session('k')
  await answer(handle.send('Hello'))
  await all.clock.settle()
  return { ...all, handle, process: await all.driver.process(0) }
}

function line(event: SessionEvent): string {
  if (event.type === 'agent.message') return event.content.map(({ text }) => text).join('')
  if (event.type === 'user.message') return event.content.map(({ text }) => `> ${String(text)}`).join('')
  if (event.type === 'session.status_running') return 'running'
  if (event.type === 'session.status_idle') return `idle ${event.stop_reason.type}`
  return event.type === 'session.error' ? event.error.message : ''
}

/** What was said and when it was at work, after the first turn. */
async function saidSince({ handle, clock }: Begun): Promise<string[]> {
  await clock.advance(100)
  const events = await handle.history({ limit: 1_000 })
  return events
    .map(({ event }) => line(event))
    .filter((text) => text !== '')
    .slice(4)
}

test('what an agent says of its own accord is in the events, between a status pair of its own', async () => {
  const all = await begun()
  all.process.sayText('The build is done.')
  all.process.sayText('It has failed.')
  all.process.finish()
  expect(await saidSince(all)).toEqual(['running', 'The build is done.', 'It has failed.', 'idle end_turn'])
  expect(await answer(all.handle.send('Try again'))).toContain('Try again')
  expect((await saidSince(all)).slice(4)).toEqual([
    '> Try again',
    'running',
    expect.stringContaining('Try'),
    'idle end_turn',
  ])
})

test('a turn that comes meanwhile has the rest, and nothing is lost between both', async () => {
  const all = await begun()
  all.process.answersAtOnce = false
  all.process.sayText('one')
  await all.clock.settle()
  const turn = all.handle.send('Stop')
  all.process.sayText('two')
  await all.driver.until(() => all.process.unanswered === 1)
  all.process.sayText('three')
  all.process.finish()
  await answer(turn)
  const said = await saidSince(all)
  expect(said.filter((text) => /one|two|three/.test(text))).toEqual(['one', 'two', 'three'])
  expect(said.filter((text) => /running|idle|>/.test(text))).toEqual([
    'running',
    'idle end_turn',
    '> Stop',
    'running',
    'idle end_turn',
  ])
})

test('what comes right after a result belongs after the end of its turn', async () => {
  const all = await begun()
  const shown = Promise.withResolvers<number>()
  vi.spyOn(all.driver, 'checkTranscript').mockReturnValueOnce(shown.promise)
  all.process.answersAtOnce = false
  const turn = all.handle.send('Build it')
  await all.driver.until(() => all.process.unanswered === 1)
  all.process.sayText('I have begun.')
  all.process.finish()
  all.process.sayText('It is done.')
  all.process.finish()
  await all.clock.settle()
  shown.resolve(0)
  await answer(turn)
  expect(await saidSince(all)).toEqual([
    '> Build it',
    'running',
    'I have begun.',
    'idle end_turn',
    'running',
    'It is done.',
    'idle end_turn',
  ])
})

test('an agent that speaks keeps its process, until it has ended', async () => {
  const all = await begun({ residency: { idleTtl: '2s' } })
  all.process.sayText('one')
  await all.clock.advance(10_000)
  expect(all.pool.workers()).toMatchObject([{ pinnedBy: { unprompted: true } }])
  all.process.finish()
  await all.clock.advance(1_000)
  expect(all.pool.workers()).toMatchObject([{ pinnedBy: undefined }])
  await all.clock.advance(2_000)
  expect(all.reasons()).toEqual(['idle'])
})

test('a process that ends while it speaks leaves an error and an end', async () => {
  const all = await begun()
  all.process.sayText('one')
  await all.clock.settle()
  all.process.exit({ exitCode: 3 })
  expect(await saidSince(all)).toEqual([
    'running',
    'one',
    expect.stringContaining('ended (exited) while it spoke'),
    'idle retries_exhausted',
  ])
  expect(await answer(all.handle.send('Go on'))).toContain('Go on')
})

test('what it asks of its own accord is in the events, too', async () => {
  const answers: (() => void)[] = []
  const canUseTool = (): Promise<{ behavior: 'allow' }> =>
    new Promise((resolve) => answers.push(() => resolve({ behavior: 'allow' })))
  const all = await begun({ agents: { assistant: { spares: { max: 0 }, unboundSpares: { max: 0 }, canUseTool } } })
  const asked = { signal: new AbortController().signal, toolUseID: 'tool-1', requestId: 'r' }
  const asking = all.process.spec.options.canUseTool?.('Bash', { command: 'ls' }, asked)
  await expect.poll(() => saidSince(all)).toEqual(['running', 'idle requires_action'])
  answers[0]?.()
  await asking
  all.process.finish()
  expect(await saidSince(all)).toEqual(['running', 'idle requires_action', 'running', 'idle end_turn'])
})

test('a question that is withdrawn is over, and no answer to it is in the events', async () => {
  const canUseTool = (): Promise<never> => new Promise(() => undefined)
  const all = await begun({ agents: { assistant: { spares: { max: 0 }, unboundSpares: { max: 0 }, canUseTool } } })
  all.process.answersAtOnce = false
  const turn = all.handle.send('List it')
  await all.driver.until(() => all.process.unanswered === 1)
  const withdrawn = new AbortController()
  const asked = { signal: withdrawn.signal, toolUseID: 'tool-1', requestId: 'r' }
  const asking = all.process.spec.options.canUseTool?.('Bash', { command: 'ls' }, asked)
  await expect.poll(async () => (await saidSince(all)).slice(1)).toEqual(['running', 'idle requires_action'])
  withdrawn.abort()
  expect(await asking).toMatchObject({ behavior: 'deny' })
  all.process.finish()
  await answer(turn)
  const types = (await all.handle.history({ limit: 100 })).map(({ event }) => event.type)
  expect(types).not.toContain('user.tool_confirmation')
  expect((await saidSince(all)).slice(1)).toEqual(['running', 'idle requires_action', 'running', 'idle end_turn'])
})

test('messages in which nothing is said begin nothing', async () => {
  const all = await begun()
  all.process.say({ type: 'system', subtype: 'background_tasks_changed', tasks: [] } as unknown as SDKMessage)
  all.process.finish()
  expect(await saidSince(all)).toEqual([])
})
