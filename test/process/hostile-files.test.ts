import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { MODEL, openSite, record, say, transcripts } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const agents = {
  a: { model: MODEL, verbatimPrompts: false, allowedTools: ['Bash'], spares: { max: 0 }, unboundSpares: { max: 0 } },
}

test.runIf(WHOLE)(
  'FIFOs in the place of transcripts fail their sessions by name, and stop no other one, nor the next start',
  async () => {
    const site = await openSite()
    const pool = await site.pool({ agents })
    const keys = ['one', 'two', 'three', 'four', 'five']
    for (const key of keys) {
      const session = await pool.session(key, { agent: 'a', tenant: 'hostile' })
      await say(session, 'first')
      await session.hibernate()
    }
    const other = await pool.session('other', { agent: 'a', tenant: 'other' })
    await say(other, 'first')
    for (const path of await transcripts(join(site.dataDir, 'tenants', 'hostile'))) {
      await rm(path)
      execFileSync('mkfifo', [path])
    }
    const sessions = await Promise.all(keys.map((key) => pool.session(key, { tenant: 'hostile' })))
    const turns = sessions.map((session) =>
      expect(session.send('second').result).rejects.toMatchObject({ code: 'resume_failed' }),
    )
    expect((await say(other, 'second')).text).toBe('[turn 2] You said: second')
    await Promise.all(turns)
    await pool.close()
    const next = await site.pool({ agents })
    expect((await say(await next.session('other', { tenant: 'other' }), 'third')).text).toBe('[turn 3] You said: third')
    await next.eraseTenant('hostile')
    expect(readdirSync(join(site.dataDir, 'tenants'))).toEqual(['other'])
  },
)

test('a transcript of 1,000 MiB without a line ends no host', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents, limits: { resumeSize: '1MiB' } })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await session.hibernate()
  const [path = ''] = await transcripts(site.dataDir)
  await truncate(path, 1_000 * 2 ** 20)
  await expect(session.send('second').result).rejects.toMatchObject({ code: 'resume_failed' })
  await expect(session.fork('fork')).rejects.toMatchObject({ code: 'resume_failed' })
  await session.delete()
  expect(await transcripts(site.dataDir)).toEqual([])
})

test.runIf(WHOLE)(
  'what an agent makes with its Bash is exported, forked and deleted, and nothing that its links lead to',
  async () => {
    const site = await openSite()
    const outside = await site.directory('outside')
    writeFileSync(join(outside, 'secret'), 'secret')
    const pool = await site.pool({ agents })
    const warnings = record(pool, 'warning')
    const session = await pool.session('one', { agent: 'a' })
    const made = `mkfifo pipe; ln -s ${outside} out; ln -s . self; mkdir -p a/b; echo kept > a/b/file; chmod 000 a/b; chmod 500 a`
    await say(session, `first\n@sim bash ${made}`)
    await session.hibernate()
    const lines: string[] = []
    for await (const line of pool.exportSession('one')) lines.push(line)
    expect(lines.join('')).toContain('"name":"a/b/file"')
    // The transcript names the file, and by chance in the same base64.
    const ofWorkspace = lines.filter((line) => line.includes('"in":"workspace"'))
    expect(ofWorkspace.join('')).not.toContain(Buffer.from('secret').toString('base64'))
    const fork = await session.fork('fork')
    expect((await say(fork, 'second\n@sim bash cat a/b/file')).text).toContain('kept')
    await fork.delete()
    expect(warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining('the export of session "one"'),
      expect.stringContaining('the fork of session "one"'),
    ])
    const { cwd = '' } = await session.info()
    await session.delete()
    expect(lstatSync(cwd, { throwIfNoEntry: false })).toBeUndefined()
    expect(readdirSync(outside)).toEqual(['secret'])
  },
)

test('no process is started in what an agent has put in the place of its workspace', async () => {
  const site = await openSite()
  const outside = await site.directory('outside')
  const pool = await site.pool({ agents })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await session.hibernate()
  const { cwd = '' } = await session.info()
  mkdirSync(join(outside, 'inner'))
  renameSync(cwd, `${cwd}-before`)
  symlinkSync(outside, cwd)
  await expect(session.send('second').result).rejects.toMatchObject({ code: 'files_failed' })
  await session.delete()
  expect(readdirSync(outside)).toEqual(['inner'])
})
