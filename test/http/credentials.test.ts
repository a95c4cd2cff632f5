import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startSimulator } from '../../src/simulator/server.ts'
import type { Simulator } from '../../src/simulator/server.ts'
import { placesOf } from '../fixtures/credentials.ts'
import { Frames } from '../fixtures/server.ts'
import type { Frame } from '../fixtures/server.ts'
import { post, serve } from './serving.ts'
import type { Serving } from './serving.ts'

const AGENT = 'spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5, allowedTools: [Bash]'

const secret = (): string => `sk-secret-${randomBytes(16).toString('hex')}`

async function model(): Promise<Simulator> {
  const simulator = await startSimulator()
  onTestFinished(() => simulator.close())
  return simulator
}

async function ask(serving: Serving, prompt: string): Promise<string> {
  const frames: Frame[] = await new Frames(await post(serving, 'ada', prompt)).rest()
  const results = frames.map(({ data }) => data as { type?: string; result?: string })
  return results.find(({ type }) => type === 'result')?.result ?? JSON.stringify(frames.at(-1))
}

test.runIf(process.platform === 'linux')(
  'no process below a server, nor the server itself, shows the key to an agent with Bash',
  async () => {
    const simulator = await model()
    const key = secret()
    // In a sandbox it would see no other process.
    const config = `agents: { a: { ${AGENT} } }\napi: { baseUrl: '${simulator.url}' }\nisolation: { mode: none }`
    const serving = await serve(config, {
      env: { ANTHROPIC_API_KEY: key },
    })
    const search = 'cat /proc/*/environ /proc/*/cmdline 2>/dev/null | grep -ao "sk-secret-[0-9a-f]\\{32\\}" | sort -u'
    const shown = await ask(serving, `@sim bash env | grep ANTHROPIC; ${search}`)
    expect(shown).toContain('ANTHROPIC_UNIX_SOCKET=')
    expect(shown).not.toContain(key)
    expect(await placesOf(key, [serving.folder])).toEqual([])
    expect(simulator.requests.at(-1)?.headers['x-api-key']).toBe(key)
  },
)

test('SIGHUP brings another key to a conversation that is live', async () => {
  const simulator = await model()
  const [old, next] = [secret(), secret()]
  const config = (key: string): string =>
    `agents: { a: { ${AGENT} } }\napi: { baseUrl: '${simulator.url}', key: ${key} }`
  const serving = await serve(config(old))
  expect(await ask(serving, 'hello')).toBe('[turn 1] You said: hello')
  await writeFile(join(serving.folder, 'claude-agent-pool.config.yaml'), config(next))
  serving.command.child.kill('SIGHUP')
  const said = await serving.command.said(/config read again.*\n/)
  expect(said).toContain('"changed":["api.key"],"needsRestart":[]')
  expect(said).not.toContain(next)
  expect(await ask(serving, 'again')).toBe('[turn 2] You said: again')
  const keys = simulator.requests.filter(({ turn }) => turn !== undefined).map(({ headers }) => headers['x-api-key'])
  expect(keys).toEqual([old, next])
})
