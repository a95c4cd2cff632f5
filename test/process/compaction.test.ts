import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { AgentOptions, Session } from '../../src/index.ts'
import { asked, event, MODEL, openSite, record, say, transcripts } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

/** A transcript has 170 KiB after its first turn, whatever is said. */
const limits = { resumeSize: '300KiB' }
const LIMIT_BYTES = 300 * 1024
const LONG = '@sim text 400KiB'

const agents = (options: AgentOptions = {}): Record<string, AgentOptions> => ({
  a: { model: MODEL, spares: { max: 0 }, unboundSpares: { max: 0 }, onLargeTranscript: 'compact', ...options },
})

/** What the model was sent with the first request for a prompt with these words. */
const sentWith = (site: Site, words: string): string =>
  JSON.stringify((asked(site, words)[0]?.body as { messages?: unknown } | undefined)?.messages)

async function typesOf(session: Session): Promise<string[]> {
  const types: string[] = []
  for await (const { event: told } of session.events({ follow: false })) types.push(told.type)
  return types
}

test.runIf(WHOLE)(
  'A conversation that has grown too large is summed up after its turn, and goes on from there',
  async () => {
    const site = await openSite()
    const pool = await site.pool({ agents: agents(), limits })
    const compactions = record(pool, 'session.compacted')
    const turns = record(pool, 'turn.ended')
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'first')
    await say(session, `second\n${LONG}`)
    await session.hibernate()
    // The first leaves the last answer as it is.
    expect(compactions).toHaveLength(2)
    expect(compactions[0]?.beforeBytes).toBeGreaterThan(LIMIT_BYTES)
    expect(compactions[1]?.afterBytes).toBeLessThan(LIMIT_BYTES)
    expect(compactions[0]?.usage?.inputTokens).toBeGreaterThan(1_000)
    expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'resumed' })
    expect(sentWith(site, 'third')).toContain('[sim] prompts so far: 2')
    expect(sentWith(site, 'third').length).toBeLessThan(100_000)
    const { turns: counted, usage } = await session.info()
    expect([counted, turns.length, pool.stats().totals.compactions]).toEqual([3, 3, 2])
    const sum = [...turns, ...compactions].reduce((tokens, { usage: used }) => tokens + (used?.inputTokens ?? 0), 0)
    expect(usage.inputTokens).toBe(sum)
    const types = await typesOf(session)
    expect(types.filter((type) => type === 'agent.thread_context_compacted')).toHaveLength(2)
    expect(types.filter((type) => type === 'user.message')).toHaveLength(3)
  },
)

test('A conversation that is too large to resume is summed up before its next turn, and so is its copy', async () => {
  const site = await openSite()
  const before = await site.pool({ agents: agents({ onLargeTranscript: 'refuse' }), transcripts: 'store' })
  const grown = await before.session('one', { agent: 'a' })
  await say(grown, `first\n${LONG}`)
  await say(grown, 'second')
  await before.close()
  const pool = await site.pool({ agents: agents(), limits, transcripts: 'store' })
  const compactions = record(pool, 'session.compacted')
  const session = await pool.session('one')
  expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'resumed' })
  expect(compactions).toHaveLength(1)
  expect(sentWith(site, 'third').length).toBeLessThan(100_000)
  await session.hibernate()
  await rm(join(site.dataDir, 'tenants', 'default', 'config', 'projects'), { recursive: true })
  expect(await say(session, 'fourth')).toEqual({ text: '[turn 4] You said: fourth', warmth: 'resumed' })
  expect(sentWith(site, 'fourth').length).toBeLessThan(100_000)
  expect(compactions).toHaveLength(1)
})

test.runIf(WHOLE)('A conversation that cannot be summed up is refused, and stays as it was', async () => {
  const site = await openSite()
  let blocks = true
  const hooks: AgentOptions['hooks'] = {
    PreCompact: [{ hooks: [async () => (blocks ? { decision: 'block', reason: 'not now' } : {})] }],
  }
  const pool = await site.pool({ agents: agents({ hooks }), limits })
  const warned = event(pool, 'warning')
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await say(session, `second\n${LONG}`)
  expect(await warned).toMatchObject({ error: { message: expect.stringContaining('PreCompact hook') } })
  await session.hibernate()
  await expect(session.send('third').result).rejects.toMatchObject({
    name: 'ResumeError',
    message: expect.stringMatching(
      /more than limits.resumeSize \(300 KiB\), and could not be compacted: .*PreCompact hook/,
    ),
  })
  expect(asked(site, 'third')).toEqual([])
  const [file = ''] = await transcripts(site.dataDir)
  expect(await readFile(file, 'utf8')).not.toContain('"subtype":"compact_boundary"')
  blocks = false
  expect((await say(session, 'fourth')).text).toBe('[turn 3] You said: fourth')
})

test.runIf(WHOLE)('A limit that a summary alone exceeds is no reason to sum up for ever', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents(), limits: { resumeSize: '10KiB' } })
  const compactions = record(pool, 'session.compacted')
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await session.hibernate()
  const { length: tried } = compactions
  expect(tried).toBeGreaterThan(0)
  for (const prompt of ['second', 'third']) {
    await expect(session.send(prompt).result).rejects.toThrow('could not be compacted: a summary of it is as large')
    await session.hibernate()
    expect([compactions.length, asked(site, prompt)]).toEqual([tried, []])
  }
})

test('A session can be deleted while its conversation is summed up', async () => {
  const site = await openSite()
  const begun = Promise.withResolvers<void>()
  const hooks: AgentOptions['hooks'] = {
    PreCompact: [{ hooks: [() => (begun.resolve(), new Promise(() => undefined))] }],
  }
  const pool = await site.pool({ agents: agents({ hooks }), limits })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await say(session, `second\n${LONG}`)
  await begun.promise
  await session.delete()
  expect([pool.workers(), await transcripts(site.dataDir)]).toEqual([[], []])
})

test('A prompt that looks like a command is a prompt, unless its agent says otherwise', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents() })
  const session = await pool.session('one', { agent: 'a' })
  expect((await say(session, '/compact')).text).toBe('[turn 1] You said: /compact')
})
