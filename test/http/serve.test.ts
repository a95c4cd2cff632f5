import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, readdir, readlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { hashKey } from '../../src/server/auth/authenticator.ts'
import { Command, run } from '../cli/command.ts'
import { isOpenToAll } from '../fixtures/open-folder.ts'
import { Frames } from '../fixtures/server.ts'
import type { Frame } from '../fixtures/server.ts'
import { post, serve } from './serving.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const AGENT = 'spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5'
const KEY = 'cap_0123456789abcdef0123456789'

const textOf = (frames: Frame[]): unknown =>
  frames.map(({ data }) => data as { type?: string; result?: string }).find(({ type }) => type === 'result')?.result

test('a prompt over HTTP reaches a real process, and the conversation goes on with the next', async () => {
  const serving = await serve(`agents: { a: { ${AGENT} } }\ndataDir: ./data`)
  const first = await post(serving, 'ada', 'hello')
  expect(first.status).toBe(200)
  expect(textOf(await new Frames(first).rest())).toBe('[turn 1] You said: hello')
  expect(textOf(await new Frames(await post(serving, 'ada', 'again')).rest())).toBe('[turn 2] You said: again')
  serving.command.child.kill('SIGTERM')
  expect(await serving.command.ended).toMatchObject({ code: 0, left: 0 })
})

test.skipIf(process.getuid?.() !== 0 || ![tmpdir(), import.meta.dirname].every(isOpenToAll))(
  'a user whom the system does not know, and who has no home, is served all the same (needs root and folders open to all users)',
  async () => {
    const serving = await serve(`agents: { a: { ${AGENT} } }\ndataDir: ./data`, { uid: 54_321 })
    const answer = await post(serving, 'ada', 'hello')
    expect(textOf(await new Frames(answer).rest())).toBe('[turn 1] You said: hello')
  },
)

test('a client that goes away finds its turn again, with all that it missed', async () => {
  const serving = await serve(`agents: { a: { ${AGENT} } }`)
  const leaving = new AbortController()
  const frames = new Frames(await post(serving, 'ada', '@sim delay 1500\n@sim say done', { signal: leaving.signal }))
  const first = await frames.next()
  leaving.abort()
  const back = await fetch(`${serving.url}/sessions/ada/messages`, { headers: { 'last-event-id': first?.id ?? '' } })
  const rest = await new Frames(back).rest()
  expect([textOf(rest), rest.at(-1)?.event]).toEqual(['done', 'done'])
})

test('SIGHUP brings new agents and keys; a turn that runs finishes as it began', async () => {
  const config = (agent: string, key: string): string =>
    `agents: { ${agent}: { ${AGENT} } }\nserver: { keys: [{ tenant: t, sha256: ${hashKey(key)} }] }`
  const serving = await serve(config('a', KEY))
  const running = await post(serving, 'ada', '@sim delay 1500\n@sim say done', { headers: { 'x-api-key': KEY } })
  await writeFile(join(serving.folder, 'claude-agent-pool.config.yaml'), config('b', `${KEY}-new`))
  serving.command.child.kill('SIGHUP')
  expect(await serving.command.said(/config read again/)).toMatch(
    /"changed":\["agents.a","agents.b","server.keys"\],"needsRestart":\[\]/,
  )
  expect((await post(serving, 'bob', 'x', { headers: { 'x-api-key': KEY } })).status).toBe(401)
  const next = await post(serving, 'bob', 'hello', { headers: { 'x-api-key': `${KEY}-new` } })
  expect(textOf(await new Frames(next).rest())).toBe('[turn 1] You said: hello')
  expect(textOf(await new Frames(running).rest())).toBe('done')
  await writeFile(join(serving.folder, 'claude-agent-pool.config.yaml'), 'agents: { b: { modle: x } }')
  serving.command.child.kill('SIGHUP')
  expect(await serving.command.said(/all stays as it was/)).toContain('agents.b.modle: is not an option')
})

test.each([
  ['transcripts: never', 'transcripts: "never" is not one of: local, store'],
  ['logLevel: info', 'logLevel: is not an option of a pool'],
  ['server: { defaultAgent: nobody }', 'server.defaultAgent: there is no agent "nobody"'],
  ['server: { host: 0.0.0.0 }', 'server.keys: there are none, and others can reach 0.0.0.0'],
  ['server: { grace: soon }', 'server.grace: "soon" is not a number with a unit'],
])('SIGHUP and --check refuse what a start refuses: %s', async (option, words) => {
  const file = 'claude-agent-pool.config.yaml'
  const serving = await serve(`agents: { a: { ${AGENT} } }`)
  await writeFile(join(serving.folder, file), `agents: { a: { ${AGENT} }, b: {} }\n${option}\n`)
  serving.command.child.kill('SIGHUP')
  const said = await serving.command.said(/all stays as it was.*\n/)
  const line = said.split('\n').find((each) => each.includes('all stays as it was')) ?? '{}'
  const { message } = (JSON.parse(line) as { error: { message: string } }).error
  expect(message.split(words)).toEqual([`${file}: line 2: `, expect.any(String)])
  const { code, stderr } = await run(['serve', '--check'], { cwd: serving.folder })
  expect([code, stderr]).toEqual([2, expect.stringContaining(words)])
})

test('SIGHUP says what needs a restart, again and again until there was one', async () => {
  const serving = await serve(`agents: { a: { ${AGENT} } }`)
  await writeFile(
    join(serving.folder, 'claude-agent-pool.config.yaml'),
    `agents: { a: { ${AGENT}, maxTurns: 9 } }\nlimits: { turns: 3 }\nserver: { grace: 1s, defaultAgent: a }\n`,
  )
  serving.command.child.kill('SIGHUP')
  expect(await serving.command.said(/config read again/)).toMatch(
    /"changed":\["agents.a.maxTurns","server.defaultAgent"\],"needsRestart":\["limits","server.grace"\]/,
  )
  serving.command.child.kill('SIGHUP')
  await serving.command.said(/"changed":\[\],"needsRestart":\["limits","server.grace"\]/)
})

test('--check says what a valid config means, and starts nothing', async () => {
  const cwd = await temporaryFolder()
  await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), 'agents: { a: {}, b: {} }\nserver: { port: 9000 }\n')
  const { code, stdout, stderr, left } = await run(['serve', '--check', '--json'], { cwd })
  expect({ code, stderr, left }).toEqual({ code: 0, stderr: '', left: 0 })
  expect(JSON.parse(stdout)).toEqual({
    valid: true,
    file: 'claude-agent-pool.config.yaml',
    agents: ['a', 'b'],
    host: '127.0.0.1',
    port: 9000,
    dataDir: join(cwd, '.claude-agent-pool'),
    simulated: true,
    keys: false,
    isolation: { mode: 'auto', egress: 'open' },
  })
  expect(await readdir(cwd)).toEqual(['claude-agent-pool.config.yaml'])
  expect((await run(['serve', '--check'], { cwd })).stdout).toContain('claude-agent-pool.config.yaml is valid')
})

test('a SIGTERM while it starts ends it in order', async () => {
  const command = new Command(['serve', '--port', '0', '--log-level', 'info'], { cwd: await temporaryFolder() })
  const lock = join(command.cwd, '.claude-agent-pool', 'host.lock')
  while (!existsSync(lock)) await new Promise((resolve) => setImmediate(resolve))
  command.child.kill('SIGTERM')
  expect(await command.ended).toMatchObject({ code: 0, left: 0, stderr: expect.stringContaining('"drained"') })
})

test('SIGTERM under load: each turn ends by its result or says that it was cut, and nothing is left', async () => {
  const serving = await serve(`agents: { a: { ${AGENT} } }\nserver: { grace: 1500ms }`)
  const short = await post(serving, 'short', '@sim delay 500\n@sim say done')
  const long = await post(serving, 'long', '@sim delay 60000\n@sim say never')
  const waiting = post(serving, 'late', '@sim delay 60000')
  serving.command.child.kill('SIGTERM')
  await serving.command.said(/"draining"/)
  const refused = await fetch(`${serving.url}/readyz`)
  expect(refused.status).toBe(503)
  const turn = await post(serving, 'new', 'hello')
  expect([turn.status, turn.headers.get('x-should-retry')]).toEqual([529, null])
  expect((await new Frames(short).rest()).at(-1)?.event).toBe('done')
  const cut = (await new Frames(long).rest()).at(-1)
  expect([cut?.event, JSON.stringify(cut?.data)]).toEqual(['error', expect.stringContaining('closed during the turn')])
  const late = await waiting
  if (late.status === 200) expect((await new Frames(late).rest()).at(-1)?.event).toBe('error')
  else expect(late.status).toBe(529)
  expect(await serving.command.ended).toMatchObject({ code: 0, left: 0 })
})

test('each of the things to try works when it is pasted', async () => {
  const command = new Command(['serve', '--port', '0'], { cwd: await temporaryFolder() })
  const tries = (await command.said(/Ctrl-C/)).split('\n').filter((line) => line.startsWith('  curl'))
  expect(tries).toHaveLength(3)
  const paste = promisify(execFile)
  const answers = await Promise.all(tries.map((line) => paste('sh', ['-c', line.replace('curl', 'curl -sS --fail')])))
  const [messages, run, operations] = answers.map(({ stdout }) => stdout)
  expect(messages).toContain('event: done')
  expect(run).toContain('"outcome":{"type":"success"}')
  expect(operations).toMatch(/"ready"[\s\S]*"capacity"[\s\S]*claude_agent_pool_turns_limit/)
})

test('without keys it listens on loopback alone', async () => {
  const { code, stderr } = await run(['serve', '--host', '0.0.0.0', '--port', '0', '--simulate'])
  expect([code, stderr]).toEqual([2, expect.stringContaining('server.keys: there are none')])
})

test('a port that is in use is one sentence', async () => {
  const serving = await serve('agents: { a: {} }')
  const { code, stderr } = await run([
    'serve',
    '--port',
    new URL(serving.url).port,
    '--data-dir',
    `${serving.folder}/x`,
  ])
  expect([code, stderr.trim().split('\n')]).toEqual([
    2,
    [expect.stringContaining('is in use on 127.0.0.1 by another program')],
  ])
})

test.runIf(process.platform === 'linux')('what the kernel shows of its environment holds no secret', async () => {
  const key = 'sk-ant-0123456789abcdef'
  const operator = 'operator-0123456789abcdef'
  const config = `agents: { a: { ${AGENT} } }\ndataDir: ./data\nserver: { operations: { port: 0 } }`
  const serving = await serve(config, {
    env: {
      CLAUDE_AGENT_POOL_API_KEYS: `acme=${KEY}`,
      CLAUDE_AGENT_POOL_OPERATOR_KEYS: `ann=${operator}`,
      ANTHROPIC_API_KEY: key,
      VISIBLE: 'yes',
    },
  })
  const { pid } = serving.command.child
  const shown = await readFile(`/proc/${pid}/environ`, 'latin1')
  expect(shown).toContain('VISIBLE=yes')
  for (const secret of [KEY, key, operator]) expect(shown).not.toContain(secret)
  for (const file of await readdir(`/proc/${pid}/fd`))
    if ((await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')).includes('claude-agent-pool-'))
      expect(await readFile(`/proc/${pid}/fd/${file}`, 'latin1')).not.toContain(KEY)
  expect(await readlink(`/proc/${pid}/fd/0`)).toBe('/dev/null')
  // It has them all the same.
  expect((await fetch(`${serving.url}/v1/sessions`)).status).toBe(401)
  expect((await fetch(`${serving.url}/v1/sessions`, { headers: { 'x-api-key': KEY } })).status).toBe(200)
  expect((await fetch(`${serving.url}/v1/sessions`, { headers: { 'x-api-key': operator } })).status).toBe(401)
  expect((await fetch(`${serving.operations}/v1/sessions`, { headers: { 'x-api-key': KEY } })).status).toBe(404)
  expect(await (await fetch(`${serving.operations}/metrics`)).text()).toContain('claude_agent_pool_build_info')
  serving.command.child.kill('SIGTERM')
  const { code, stdout } = await serving.command.ended
  expect([code, stdout]).toEqual([0, expect.stringContaining('"simulated":false')])
})

test('an error that a request leaves uncaught is logged with its id, and the server goes on', async () => {
  const serving = await serve(
    `const errors = [
  () => setTimeout(() => { throw new Error('thrown later') }, 1),
  () => void new Promise((resolve) => setTimeout(resolve, 1)).then(() => { throw new Error('rejected later') }),
]
const mcpServers = () => (errors.shift()?.(), {})
export default { agents: { a: { ${AGENT.replace('claude-sonnet-5', "'claude-sonnet-5'")}, mcpServers } } }`,
    { file: 'claude-agent-pool.config.mjs' },
  )
  for (const [session, message] of [
    ['one', 'thrown later'],
    ['two', 'rejected later'],
  ] as const) {
    const answer = await post(serving, session, 'hello')
    const said = await serving.command.said(new RegExp(`"message":"${message}".*\n`))
    expect(JSON.parse(said.split('\n').find((line) => line.includes(message)) ?? '')).toMatchObject({
      msg: 'uncaught error of a request: the server goes on',
      request_id: answer.headers.get('request-id'),
      path: `/sessions/${session}/messages`,
    })
    expect(textOf(await new Frames(answer).rest())).toBe('[turn 1] You said: hello')
  }
})

test('an uncaught error of no request ends the server in order', async () => {
  const { command } = await serve(
    `process.once('SIGUSR2', () => { throw new Error('of nobody') })
export default { agents: { a: { ${AGENT.replace('claude-sonnet-5', "'claude-sonnet-5'")} } } }`,
    { file: 'claude-agent-pool.config.mjs' },
  )
  command.child.kill('SIGUSR2')
  const { code, left, stderr } = await command.ended
  expect([code, left, stderr]).toEqual([1, 0, expect.stringContaining('uncaught error: the server ends')])
})
