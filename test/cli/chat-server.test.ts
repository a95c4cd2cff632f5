import { describe, expect, test } from 'vitest'
import { createHash } from 'node:crypto'
import { Command, run } from './command.ts'
import { Terminal, hasTerminal } from './terminal.ts'
import { serve } from '../http/serving.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const KEY = 'cap_key_0123456789abcdef'

const CONFIG = `
agents:
  writer: { allowedTools: [Bash], spares: { max: 0 }, unboundSpares: { max: 0 } }
  careful: { permissionMode: default, spares: { max: 0 }, unboundSpares: { max: 0 } }
isolation: { mode: none }
server:
  keys: [{ tenant: acme, sha256: ${createHash('sha256').update(KEY).digest('hex')} }]
`

const env = { CLAUDE_AGENT_POOL_KEY: KEY }

describe('The command chat with --server', () => {
  test.skipIf(!hasTerminal)(
    'talks to an agent of a server that runs: turns, tools, the past, questions and Ctrl-C (needs `script` of util-linux)',
    async () => {
      const serving = await serve(CONFIG)
      const cwd = await temporaryFolder()
      const there = ['chat', '--server', serving.url]

      const unknown = await run(there, { cwd, env })
      expect(unknown).toMatchObject({ code: 2, stdout: '' })
      expect(unknown.stderr).toContain('--agent: is needed; the server has: writer, careful')
      const refused = await run([...there, '--agent', 'writer'], { cwd, input: 'hello\n' })
      expect(refused).toMatchObject({ code: 1, stdout: '' })
      expect(refused.stderr).toMatch(/answered 401: .*the key is read from CLAUDE_AGENT_POOL_KEY/)

      const writer = [...there, '--agent', 'writer']
      const first = await run(writer, {
        cwd,
        env,
        input: 'My name is Ada.\n@sim bash echo from the tool\n/new\nelsewhere\n@sim error 400\n',
      })
      expect(first.stdout).toBe(
        '[turn 1] You said: My name is Ada.\n[turn 2] tool said: from the tool\n[turn 1] You said: elsewhere\n',
      )
      expect(first.stderr).toMatch(/API Error: 400.*\(model_request_failed_error\)/)
      expect(first).toMatchObject({ code: 1, left: 0 })
      expect(first.stderr).toContain('New session chat with agent writer.')
      expect(first.stderr).toContain('· Bash: echo from the tool')
      expect(first.stderr).toContain('New session chat-2')

      const chat = new Terminal(writer, { cwd, env })
      expect(await chat.shows(/\/help shows/)).toMatch(
        /Continuing session chat, 2 turns\.\n> My name is Ada\.\n\[turn 1\] You said: My name is Ada\.\n> @sim bash[^]*· Bash: echo from the tool\n\[turn 2\] tool said: from the tool\n/,
      )
      chat.type('/info')
      await chat.shows(new RegExp(`server +${serving.url}/\\n`))
      chat.type('/exit')
      expect(await chat.ended).toMatchObject({ code: 0 })

      const careful = new Terminal([...there, '--agent', 'careful', '--session', 'asks'], { cwd, env })
      await careful.shows(/\/help shows/)
      careful.type('@sim bash echo allowed > answer.txt && cat answer.txt')
      await careful.shows(/\[y\/N\]/)
      careful.type('y')
      expect((await careful.shows(/tool said: allowed/)).match(/· Bash: echo/g)).toHaveLength(1)
      careful.type('/exit')
      expect(await careful.ended).toMatchObject({ code: 0 })

      const stopped = new Command([...writer, '--session', 'stopped'], { cwd, env })
      stopped.type('@sim say working on it\\\n@sim delay 60000\n', { more: true })
      await stopped.said(/working on it/)
      stopped.child.kill('SIGINT')
      await stopped.said(/\ninterrupted\n/)
      stopped.type('and now?\n')
      const { code, stdout } = await stopped.ended
      expect({ code, stdout }).toEqual({ code: 1, stdout: 'working on it\n[turn 2] You said: and now?\n' })
    },
    // Ten turns, each with a process of its own.
    300_000,
  )

  test.each([
    [['--server', 'localhost:8080'], 2, '--server: is no address like http://127.0.0.1:8080'],
    [
      ['--server', 'http://user:pass@localhost'],
      2,
      '--server: has a user or a password; put the key into CLAUDE_AGENT_POOL_KEY',
    ],
    [['--server', 'http://127.0.0.1:9', '--tenant', 'acme'], 2, '--tenant: is for a pool of this process'],
    [['--server', 'http://127.0.0.1:9', '--agent', 'a'], 1, 'http://127.0.0.1:9 cannot be reached: '],
  ])('refuses %j with a reason', async (flags, code, reason) => {
    const ended = await run(['chat', ...flags], { cwd: await temporaryFolder(), input: 'hello\n' })
    expect(ended).toMatchObject({ code, stdout: '', left: 0 })
    expect(ended.stderr).toContain(reason)
  })
})
