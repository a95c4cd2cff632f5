import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startSimulator } from '../../src/simulator/server.ts'
import { ask, events } from '../unit/simulator/ask.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const command = new URL('../../src/cli/simulate.ts', import.meta.url).href
/** Ends as main.ts does: a bad option is one line and exit code 2. */
const runner = `
  const { simulateCommand } = await import('${command}')
  await simulateCommand().parseAsync(process.argv.slice(1), { from: 'user' }).catch((error) => {
    console.error(error.message)
    process.exitCode = 2
  })`

function simulate(...args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, ['--input-type=module', '-e', runner, '--', ...args])
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  })
  return child
}

const firstLine = async (child: ChildProcess): Promise<string> =>
  String((await once(createInterface(child.stdout ?? process.stdin), 'line'))[0])

async function failure(...args: readonly string[]): Promise<{ code: number | null; lines: string }> {
  const child = simulate(...args)
  const [[code], lines] = await Promise.all([once(child, 'exit'), text(child.stderr ?? process.stdin)])
  return { code, lines: lines.trim() }
}

describe('The command simulate', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    'serves until %s, then ends in order, with an answer open',
    async (signal) => {
      const child = simulate('--port', '0', '--json')
      const { url, port, env } = JSON.parse(await firstLine(child))
      expect(env).toEqual({ ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: 'simulated' })
      const simulator = { url, port } as Parameters<typeof ask>[0]
      const all = await events(await ask(simulator, { say: 'hi' }))
      expect(JSON.stringify(all)).toContain('[turn 1] You said: hi')
      const silent = await ask(simulator, { say: '@sim silence' })
      const exited = once(child, 'exit')
      child.kill(signal)
      await expect(silent.text()).rejects.toThrow('terminated')
      expect(await exited).toEqual([0, null])
    },
  )

  test('tells what to export', async () => {
    const child = simulate('--port', '0')
    const lines: string[] = []
    for await (const line of createInterface(child.stdout ?? process.stdin)) {
      lines.push(line)
      if (line.includes('ANTHROPIC_API_KEY')) break
    }
    expect(lines.join('\n')).toMatch(
      /export ANTHROPIC_BASE_URL=http:\/\/127\.0\.0\.1:\d+\n {2}export ANTHROPIC_API_KEY=simulated/,
    )
  })

  test('plays a scenario', async () => {
    const dir = await temporaryFolder()
    await writeFile(join(dir, 'load.yaml'), 'default: ["say as written"]\n')
    const child = simulate('--port', '0', '--json', '--scenario', join(dir, 'load.yaml'))
    const simulator = JSON.parse(await firstLine(child)) as Parameters<typeof ask>[0]
    expect(JSON.stringify(await events(await ask(simulator, { say: 'hi' })))).toContain('as written')
  })

  test('says in one line what keeps it from starting', async () => {
    await using taken = await startSimulator()
    expect(await failure('--port', String(taken.port))).toEqual({
      code: 2,
      lines: `port: ${taken.port} is in use on 127.0.0.1 by another program; end that, choose another port, or 0 for any free one`,
    })
    expect(await failure('--host', '0.0.0.0')).toMatchObject({
      code: 2,
      lines: expect.stringContaining('loopback only'),
    })
    expect(await failure('--port', 'http')).toMatchObject({
      code: 2,
      lines: expect.stringContaining('"http" is not a port'),
    })
    expect(await failure('--scenario', '/none.yaml')).toMatchObject({
      code: 2,
      lines: expect.stringMatching(/^\/none.yaml: cannot be read/),
    })
  })
})
