import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Command, run } from './command.ts'
import { Terminal, hasTerminal } from './terminal.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { WHOLE } from '../fixtures/whole.ts'

/** Answers with some words, and then not for a long time. */
const LONG_TURN = '@sim say working on it\\\n@sim delay 60000\n'

describe('The command chat', () => {
  test('runs a turn for each line of a pipe, and goes on with the conversation when it is run again', async () => {
    const cwd = await temporaryFolder()
    const first = await run(['chat'], { cwd, input: 'one\n\ntwo\\\nlines\n' })
    expect(first).toMatchObject({ code: 0, left: 0 })
    expect(first.stdout).toBe('[turn 1] You said: one\n[turn 2] You said: two\nlines\n')
    expect(first.stderr).toContain('no API key')
    expect(first.stderr).toContain('New session chat with agent assistant.')
    expect(first.stderr).not.toContain('SQLite')

    const second = await run(['chat', '--session', 'chat'], { cwd, input: 'three\n' })
    expect(second).toMatchObject({ code: 0, left: 0, stdout: '[turn 3] You said: three\n' })
    expect(second.stderr).toContain('Continuing session chat, 2 turns.')

    const other = await run(['chat', '--session', 'other'], { cwd, input: 'hello\n' })
    expect(other).toMatchObject({ code: 0, left: 0, stdout: '[turn 1] You said: hello\n' })
  })

  test('takes its agent and data directory from the config', async () => {
    const cwd = await temporaryFolder()
    const config = `export default () => ({ dataDir: './data', agents: {
      writer: { allowedTools: ['Bash'] }, reader: {} } })\n`
    await writeFile(join(cwd, 'claude-agent-pool.config.mjs'), config)
    const missing = await run(['chat'], { cwd, input: 'hello\n' })
    expect(missing).toMatchObject({ code: 2, left: 0 })
    expect(missing.stderr).toContain('--agent: is needed to begin a conversation; the config has: writer, reader')

    const input = '@sim bash echo from the tool\n/info\n'
    const { code, stdout, stderr, left } = await run(['chat', '--agent', 'writer', '--tenant', 'acme'], { cwd, input })
    expect({ code, stdout, left }).toEqual({ code: 0, stdout: '[turn 1] tool said: from the tool\n', left: 0 })
    expect(stderr).toContain('· Bash: echo from the tool')
    expect(stderr).toContain(join(cwd, 'data', 'tenants', 'acme'))

    const conflict = await run(['chat', '--agent', 'reader', '--tenant', 'acme'], { cwd })
    expect(conflict).toMatchObject({ code: 1, left: 0, stderr: expect.stringContaining('(session_conflict)') })
  })

  test('reaches the real model where there is a key', async () => {
    const env = { ANTHROPIC_API_KEY: 'sk-test', ANTHROPIC_BASE_URL: 'http://127.0.0.1:9' }
    const command = new Command(['chat'], { cwd: await temporaryFolder(), env })
    command.type('hello\n', { more: true })
    await command.said(/the API answered 502; the next try is in/)
    command.child.kill('SIGTERM')
    const { code, stderr, left } = await command.ended
    expect({ code, left }).toEqual({ code: 143, left: 0 })
    expect(stderr).not.toContain('simulated')
  })

  test.runIf(WHOLE)('interrupts the turn at SIGINT, and goes on with the next', async () => {
    const command = new Command(['chat'], { cwd: await temporaryFolder() })
    command.type(LONG_TURN, { more: true })
    await command.said(/working on it/)
    command.child.kill('SIGINT')
    await command.said(/\ninterrupted\n/)
    command.type('and now?\n')
    const { code, stdout, left } = await command.ended
    expect({ code, left }).toEqual({ code: 1, left: 0 })
    expect(stdout).toBe('working on it\n[turn 2] You said: and now?\n')
  })

  test('leaves at the second SIGINT, and at SIGTERM', async () => {
    const cwd = await temporaryFolder()
    const twice = new Command(['chat'], { cwd })
    twice.type(LONG_TURN, { more: true })
    await twice.said(/working on it/)
    twice.child.kill('SIGINT')
    await twice.said(/interrupting/)
    twice.child.kill('SIGINT')
    expect(await twice.ended).toMatchObject({ code: 130, signal: null, left: 0 })

    const once = new Command(['chat'], { cwd })
    once.type(LONG_TURN, { more: true })
    await once.said(/working on it/)
    once.child.kill('SIGTERM')
    expect(await once.ended).toMatchObject({ code: 143, signal: null, left: 0 })
  })

  test('says who has the data directory', async () => {
    const cwd = await temporaryFolder()
    const first = new Command(['chat'], { cwd })
    await first.said(/New session/)
    const { code, stderr } = await run(['chat'], { cwd })
    expect(code).toBe(1)
    expect(stderr).toMatch(
      new RegExp(`^claude-agent-pool: process ${first.child.pid} already runs a pool.*host_running`),
    )
    first.type('')
    expect(await first.ended).toMatchObject({ code: 0, left: 0 })
  })

  test.runIf(WHOLE)('begins another conversation with /new', async () => {
    const cwd = await temporaryFolder()
    const { stdout, stderr } = await run(['chat'], {
      cwd,
      input: 'one\n/new\nelsewhere\n/new chat\ntwo\n/exit\nnever\n',
    })
    expect(stdout).toBe('[turn 1] You said: one\n[turn 1] You said: elsewhere\n[turn 2] You said: two\n')
    expect(stderr).toContain('New session chat-2')
    expect(stderr).toContain('Continuing session chat, 1 turn.')
  })

  test('tells by its exit code that a turn failed', async () => {
    const { code, stdout, stderr } = await run(['chat'], {
      cwd: await temporaryFolder(),
      input: '@sim error 400\nhello\n',
    })
    expect(code).toBe(1)
    expect(stdout).toMatch(/API Error: 400 .*\n\[turn 2\] You said: hello\n$/)
    expect(stderr).toContain('the turn ended with an error')
  })

  test.skipIf(!hasTerminal)('shows a person the old conversation (needs `script` of util-linux)', async () => {
    const cwd = await temporaryFolder()
    await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), 'agents: { a: { allowedTools: [Bash] } }\n')
    await run(['chat'], { cwd, input: 'My name is Ada.\n@sim bash echo from the tool\n' })
    const chat = new Terminal(['chat'], { cwd })
    const screen = await chat.shows(/\/help shows/)
    expect(screen).toMatch(
      /Continuing session chat, 2 turns\.\n> My name is Ada\.\n\[turn 1\] You said: My name is Ada\.\n> @sim bash[^]*· Bash: echo from the tool\n\[turn 2\] tool said: from the tool\n/,
    )
    chat.type('/exit')
    expect(await chat.ended).toMatchObject({ code: 0 })
  })
})
