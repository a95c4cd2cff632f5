import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Command, run } from './command.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const oneLine = (text: string): RegExp => new RegExp(`^claude-agent-pool: [^\\n]*${text}[^\\n]*\\n$`)

describe('The command', () => {
  test('says its version', async () => {
    expect(await run(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  test.each([[], ['--help'], ['help']])('explains itself: %j', async (...args) => {
    const { code, stdout, stderr } = await run(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const word of ['chat', 'demo', 'simulate', 'Examples:', 'Exit codes:']) expect(stdout).toContain(word)
  })

  test.each(['chat', 'demo', 'simulate'])('explains %s', async (command) => {
    const { code, stdout } = await run([command, '--help'])
    expect(code).toBe(0)
    expect(stdout).toContain(`Usage: claude-agent-pool ${command}`)
  })

  test.each([
    [['--bogus'], "unknown option '--bogus'"],
    [['chta'], "unknown command 'chta'.*Did you mean chat"],
    [['demo', '--jsn'], "unknown option '--jsn'.*Did you mean --json"],
    [['demo', 'now'], "too many arguments for 'demo'"],
    [['chat', '--session'], "option '--session <key>' argument missing"],
    [['simulate', '--port', 'x'], '"x" is not a port'],
    [['chat', '--config', 'none.yaml'], '--config: there is no file none.yaml'],
    [['chat', '--agent', 'none'], 'there is no agent "none"; known are: assistant'],
    [['chat', '--session', ''], 'key: '],
  ])('refuses %j with one line', async (args, words) => {
    const { code, stdout, stderr, left } = await run(args, { cwd: await temporaryFolder() })
    expect({ code, stdout, left }).toEqual({ code: 2, stdout: '', left: 0 })
    expect(stderr).toMatch(oneLine(words))
  })

  test.each([
    ['agents:\n  a: {}\n  a: {}\n', 'agents.a: is there twice, in lines 2 and 3; keep one'],
    ['agents:\n  a: {}\n  A: {}\n', 'agents.A: duplicates agents.a'],
    ['agents: [\n', 'line 2, column 1: '],
    ['agents:\n  a: { modle: x }\n', 'agents.a.modle: is not an option of an agent; did you mean model'],
    [
      'agents: { a: {} }\nresidency: { idleTtl: 5 minutes }\n',
      'residency.idleTtl: "5 minutes" is not a number with a unit',
    ],
  ])('names the file and the place of what is wrong in a config', async (yaml, words) => {
    const cwd = await temporaryFolder()
    await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), yaml)
    const { code, stderr } = await run(['chat'], { cwd })
    expect(code).toBe(2)
    expect(stderr).toMatch(oneLine('claude-agent-pool\\.config\\.yaml: '))
    expect(stderr).toContain(words)
  })

  test('ends quietly when its reader leaves', async () => {
    const command = new Command(['demo'])
    await command.said(/1\. A cold start/)
    command.child.stdout.destroy()
    expect(await command.ended).toMatchObject({ code: 141, left: 0, stderr: expect.not.stringContaining('EPIPE') })
  })
})
