import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Session } from '../../../src/index.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { answer, fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'
import { openFolder } from '../../fixtures/open-folder.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

/** A session after its first turn, and the workspace that the pool has made for it. */
async function begun(): Promise<Fakes & { handle: Session; cwd: string }> {
  const all = await fakes()
  const handle = await all.session('k')
  await answer(handle.send('one'))
  const { cwd = '' } = await handle.info()
  return { ...all, handle, cwd }
}

const lastPrompt = (process: FakeProcess | undefined): string =>
  JSON.stringify(process?.prompts.at(-1)?.message.content)

test('a workspace that was removed is made again, and the agent is told once that its files are gone', async () => {
  const { handle, cwd, driver, told } = await begun()
  await handle.hibernate()
  await rm(cwd, { recursive: true })
  expect(await answer(handle.send('two'))).toContain('two')
  expect(existsSync(cwd)).toBe(true)
  expect(lastPrompt(driver.processes[1])).toMatch(/<system-reminder>.*was gone and has been made again.*"two"/)
  expect(told('warning')).toMatchObject([{ message: expect.stringContaining('workspace of session "k" was gone') }])
  await answer(handle.send('three'))
  expect(lastPrompt(driver.processes[1])).toBe('"three"')
  const prompts = (await handle.history({ limit: 100 })).flatMap(({ event }) =>
    event.type === 'user.message' ? event.content : [],
  )
  expect(prompts).toEqual(['one', 'two', 'three'].map((text) => ({ type: 'text', text })))
})

test('so is that of a process that lives', async () => {
  const { handle, cwd, driver } = await begun()
  await rm(cwd, { recursive: true })
  const turn = handle.send('two')
  await answer(turn)
  expect([turn.warmth, existsSync(cwd)]).toEqual(['live', true])
  expect(lastPrompt(driver.processes[0])).toContain('was gone and has been made again')
})

test('a workspace that nobody has worked in is made again without a word', async () => {
  const { session, pool, driver } = await fakes()
  const handle = await session('k')
  await pool.warm('k', { agent: 'assistant' })
  const { cwd = '' } = await handle.info()
  await rm(cwd, { recursive: true })
  await answer(handle.send('one'))
  expect([existsSync(cwd), lastPrompt(driver.processes[0])]).toEqual([true, '"one"'])
})

describe('A user without root’s rights', () => {
  const run = promisify(execFile)
  const isRoot = process.getuid?.() === 0
  /** `nobody` if this process is root, which may enter everything. */
  const uid = isRoot ? 65_534 : (process.getuid?.() ?? 0)

  test.skipIf(isRoot && openFolder === undefined)(
    'has a workspace that its agent closed opened again; a closed directory of the caller is named, and no other session is held back',
    async () => {
      const folder = await mkdtemp(join(openFolder ?? tmpdir(), 'workspaces-'))
      onTestFinished(() => rm(folder, { recursive: true, force: true }))
      if (isRoot) await chown(folder, uid, uid)
      const script = join(import.meta.dirname, '../../fixtures/unprivileged-workspaces.ts')
      const { stdout } = await run(process.execPath, [script, folder, String(uid)])
      const named = `the working directory ${join(folder, 'cwd')} cannot be entered by this process`
      expect(JSON.parse(stdout)).toEqual({
        reopened: { said: 'success', mode: 0o700 },
        refusals: Array.from({ length: 4 }, () => expect.stringContaining(`start_failed: ${named}`)),
        started: 0,
        other: 'success',
        opened: 'success',
      })
    },
  )
})

test('one that was replaced by a file or a link is refused by name, and nothing is sent', async () => {
  const { handle, cwd, driver } = await begun()
  await handle.hibernate()
  for (const replace of [() => writeFile(cwd, ''), () => symlink('/', cwd)]) {
    await rm(cwd, { recursive: true, force: true })
    await replace()
    await expect(handle.send('two').result).rejects.toMatchObject({
      name: 'FilesError',
      message: expect.stringMatching(/restoring a folder failed: .* (is a file|is a link, and links are not followed)/),
    })
  }
  expect(driver.processes).toHaveLength(1)
})

test('a directory of the caller that is gone is his to make again', async () => {
  const { pool } = await fakes()
  const cwd = await temporaryFolder()
  const handle = await pool.session('k', { agent: 'assistant', cwd })
  await answer(handle.send('one'))
  await handle.hibernate()
  await rm(cwd, { recursive: true })
  await expect(handle.send('two').result).rejects.toThrow(`${cwd} does not exist any more; make it again, or delete`)
  expect(existsSync(cwd)).toBe(false)
  await mkdir(cwd)
  expect(await outcome(handle.send('three'))).toBe('success')
})
