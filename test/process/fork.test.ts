import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { MODEL, modelAsked, openSite, say, transcripts } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

test('A fork and its origin go on separately: each keeps what was said before, and nothing of the other after', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const origin = await pool.session('origin', { agent: 'a' })
  await say(origin, 'first')
  await say(origin, 'second')
  const fork = await origin.fork('fork')
  expect(fork).toMatchObject({ key: 'fork', agent: 'a', tenant: 'default' })
  expect(await say(fork, 'third of the fork')).toEqual({
    text: '[turn 3] You said: third of the fork',
    warmth: 'resumed',
  })
  expect((await say(origin, 'third of the origin')).text).toBe('[turn 3] You said: third of the origin')
  expect((await say(fork, 'fourth of the fork')).text).toBe('[turn 4] You said: fourth of the fork')
  const [one, two] = await Promise.all([origin.info(), fork.info()])
  expect(two.sdkSessionId).not.toBe(one.sdkSessionId)
  const bodies = site.simulator.requests.map(({ body, prompt }) => ({ prompt, text: JSON.stringify(body) }))
  const last = (prompt: string): string => bodies.find((body) => body.prompt === prompt)?.text ?? ''
  expect(last('fourth of the fork')).toContain('first')
  expect(last('fourth of the fork')).not.toContain('third of the origin')
  expect(last('third of the origin')).not.toContain('third of the fork')
  await Promise.all([origin.hibernate(), fork.hibernate()])
  expect((await say(fork, 'fifth')).text).toBe('[turn 5] You said: fifth')
  expect((await say(origin, 'fourth')).text).toBe('[turn 4] You said: fourth')
})

test.runIf(WHOLE)('A fork of a session that runs in a directory of its caller runs there too', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool()
  const origin = await pool.session('origin', { agent: 'a', cwd })
  await say(origin, 'first')
  const fork = await origin.fork('fork')
  expect((await say(fork, 'second')).text).toBe('[turn 2] You said: second')
  expect((await fork.info()).cwd).toBe(cwd)
})

test.for([
  ['with an accent that stands for itself', 'cafe\u0301'],
  ['with a name that the CLI cuts', `${'x'.repeat(120)}/\u00e9${'y'.repeat(90)}`],
] as const)(
  'A session in a directory %s is forked, bounded and deleted where the CLI keeps it',
  async ([how, name], { skip }) => {
    skip(!WHOLE && how === 'with a name that the CLI cuts', 'an accent takes the same way')
    const site = await openSite()
    const cwd = await site.directory(name)
    const pool = await site.pool({ limits: { resumeSize: '200KiB' } })
    const origin = await pool.session('origin', { agent: 'a', cwd })
    await say(origin, 'first')
    const fork = await origin.fork('fork')
    expect((await say(fork, 'second\n@sim text 400KiB')).warmth).toBe('resumed')
    await fork.hibernate()
    await expect(fork.send('third').result).rejects.toMatchObject({
      name: 'ResumeError',
      message: expect.stringContaining('limits.resumeSize'),
    })
    await Promise.all([origin.delete(), fork.delete()])
    expect(await transcripts(site.dataDir)).toEqual([])
  },
)

test.runIf(WHOLE)('A fork has its own copy of a workspace that the pool made', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { model: MODEL, spares: { max: 0 }, allowedTools: ['Bash'] } } })
  const origin = await pool.session('origin', { agent: 'a' })
  await say(origin, '@sim bash echo before > note')
  const fork = await origin.fork('fork')
  await say(origin, '@sim bash echo after > note')
  const { cwd } = await fork.info()
  expect(cwd).not.toBe((await origin.info()).cwd)
  expect((await say(fork, '@sim bash cat note; pwd')).text).toBe(`[turn 2] tool said: before\n${cwd}`)
  await fork.delete()
  expect(existsSync(cwd ?? '')).toBe(false)
  expect((await say(origin, '@sim bash cat note')).text).toBe('[turn 3] tool said: after')
})

test.runIf(WHOLE)('Deleting one of both leaves the other whole', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const origin = await pool.session('origin', { agent: 'a' })
  await say(origin, 'first')
  const fork = await origin.fork('fork')
  await origin.delete()
  expect((await say(fork, 'second')).text).toBe('[turn 2] You said: second')
  const again = await fork.fork('again')
  await fork.delete()
  expect((await say(again, 'third')).text).toBe('[turn 3] You said: third')
})

test.runIf(WHOLE)('A fork of a session that has not begun begins for itself', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const origin = await pool.session('origin', { agent: 'a' })
  const fork = await origin.fork('fork')
  expect((await say(fork, 'first')).text).toBe('[turn 1] You said: first')
  expect((await say(origin, 'first')).text).toBe('[turn 1] You said: first')
  expect((await fork.info()).cwd).not.toBe((await origin.info()).cwd)
})

test.runIf(WHOLE)('A session that runs a turn is not forked, and neither is one into a key that is taken', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const origin = await pool.session('origin', { agent: 'a' })
  const turn = origin.send('first\n@sim silence')
  await modelAsked(site, 'first')
  await expect(origin.fork('fork')).rejects.toMatchObject({ name: 'SessionBusyError' })
  await turn.interrupt()
  await turn.result
  await expect(origin.fork('origin')).rejects.toMatchObject({ name: 'SessionConflictError', code: 'session_conflict' })
  await expect(pool.session('fork')).rejects.toMatchObject({ code: 'session_not_found' })
})
