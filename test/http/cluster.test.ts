import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { startSimulator } from '../../src/simulator/server.ts'
import { ownedBy, run } from '../cli/command.ts'
import { startOwnPostgres } from '../fixtures/postgres-server.ts'
import type { OwnServer } from '../fixtures/postgres-server.ts'
import { Frames } from '../fixtures/server.ts'
import type { Frame } from '../fixtures/server.ts'
import { post, serve } from './serving.ts'
import type { Serving } from './serving.ts'

const AGENT = 'spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5, allowedTools: [Bash]'

const SECRET = 'a secret of all hosts of this test'

/** A turn that sends a request to a port, as an agent can, and says what it knows of the secret. */
const knockAt = (port: number): string =>
  `@sim bash exec 3<>/dev/tcp/127.0.0.1/${port}; printf 'POST /-/release HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 2\\r\\n\\r\\n{}' >&3; head -1 <&3; echo "secret: \${CLAUDE_AGENT_POOL_CLUSTER_SECRET-none}"`

/** A turn that does something until its processes end. */
const ENDLESS = '@sim bash while true; do date +%s%N > beat; sleep 0.1; done'

/** An upper bound for a slow machine: what is waited for takes three seconds on a quiet one. */
const PATIENCE = { timeout: 120_000, interval: 50 }

vi.setConfig({ testTimeout: 180_000 })

let server: OwnServer
let schemas = 0

beforeAll(async () => {
  server = await startOwnPostgres()
}, 120_000)

afterAll(() => server?.[Symbol.asyncDispose]())

/** Hosts with data directories of their own, on one database and one model. */
async function hosts(count: number): Promise<{ all: Serving[]; env: Record<string, string>; schema: string }> {
  const simulator = await startSimulator()
  onTestFinished(() => simulator.close())
  const config = `agents: { a: { ${AGENT} } }\napi: { baseUrl: '${simulator.url}', key: simulated }`
  const schema = `cluster_${(schemas += 1)}`
  const env = { CLAUDE_AGENT_POOL_STORE: server.url(schema), CLAUDE_AGENT_POOL_CLUSTER_SECRET: SECRET }
  const all: Serving[] = []
  for (let index = 0; index < count; index += 1) all.push(await serve(config, { env }))
  return { all, env, schema }
}

async function ask(serving: Serving, prompt: string, session = 'ada'): Promise<string> {
  const answer = await post(serving, session, prompt)
  if (!answer.ok) return `${answer.status} ${await answer.text()}`
  const frames: Frame[] = await new Frames(answer).rest()
  const results = frames.map(({ data }) => data as { type?: string; result?: string })
  return results.find(({ type }) => type === 'result')?.result ?? JSON.stringify(frames.at(-1))
}

/** `T`: the process stands still. */
const stateOf = (pid: string): string => /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? ''

/** The types of a session's events, and what its errors say. */
const said = async (schema: string, key = 'ada'): Promise<string[]> =>
  (
    await server.query<{ type: string; json: string }>(
      `SELECT e.type, e.json FROM "${schema}".events e JOIN "${schema}".sessions s ON s.id = e.session WHERE s.key = $1 ORDER BY e.number`,
      [key],
    )
  ).map(({ type, json }) => (type === 'session.error' ? json : type))

test('A session whose host is killed in mid-turn goes on at another host, which has its conversation; no agent passes the port of hosts', async () => {
  const { all, env, schema } = await hosts(2)
  const [first, second] = all as [Serving, Serving]
  expect(await ask(first, 'hello')).toBe('[turn 1] You said: hello')
  expect(await ask(second, 'hello')).toBe('[turn 2] You said: hello')
  const [{ cwd } = { cwd: '' }] = await server.query<{ cwd: string }>(
    `SELECT cwd FROM "${schema}".sessions WHERE key = 'ada'`,
  )
  expect(cwd).toContain(first.folder)
  const listed = JSON.parse((await run(['hosts', '--json'], { cwd: first.folder, env })).stdout) as object[]
  expect(listed).toMatchObject([{ state: 'ready' }, { state: 'ready' }])
  for (const { address } of listed as { address: string }[]) {
    const knocked = await (await post(first, 'eve', knockAt(Number(/:(\d+)/.exec(address)?.[1])))).text()
    expect(knocked).toContain('HTTP/1.1 401')
    expect(knocked).toContain('secret: none')
  }
  const pressure = (await (await fetch(`${second.url}/pressure`)).json()) as { hosts: object[] }
  expect(pressure.hosts).toMatchObject([{ isThisHost: false }, { isThisHost: true, running: 0 }])

  // Through the host that survives.
  const cut = post(second, 'ada', ENDLESS).then(async (answer) => new Frames(answer).rest())
  await vi.waitFor(async () => expect((await said(schema)).at(-1)).toBe('agent.tool_use'), PATIENCE)
  const { pid = 0 } = first.command.child
  expect(ownedBy(pid).length).toBeGreaterThan(1)
  first.command.child.kill('SIGKILL')
  const lastFrame = (await cut).at(-1)
  expect(lastFrame).toMatchObject({ event: 'error', data: { message: expect.stringContaining('is gone') } })
  await vi.waitFor(async () => expect((await said(schema)).at(-1)).toBe('session.status_idle'), PATIENCE)
  expect((await said(schema)).at(-2)).toContain('the host ended during this turn')
  expect(ownedBy(pid)).toEqual([])

  const again = await ask(second, 'again')
  expect(again).toMatch(/^\[turn \d\] You said: again$/)
  expect(again).not.toContain('[turn 1]')
  const [session] = await server.query<{ cwd: string }>(`SELECT cwd FROM "${schema}".sessions WHERE key = 'ada'`)
  expect(session?.cwd).toContain(second.folder)
})

test('A host that is cut off freezes what it runs, and ends it when it comes back as another host', async () => {
  const { all, schema } = await hosts(2)
  const [first, second] = all as [Serving, Serving]
  expect(await ask(first, 'hello')).toBe('[turn 1] You said: hello')
  const cut = post(first, 'ada', ENDLESS).then(async (answer) => answer.text())
  await vi.waitFor(async () => expect((await said(schema)).at(-1)).toBe('agent.tool_use'), PATIENCE)
  const { pid = 0 } = first.command.child
  first.command.child.kill('SIGSTOP')
  await vi.waitFor(async () => expect((await said(schema)).at(-1)).toBe('session.status_idle'), PATIENCE)
  // Every process of the host stands still by now, and so does what its shell does.
  expect(new Set(ownedBy(pid).map(stateOf))).toEqual(new Set(['T']))
  expect(await ask(second, 'again')).toMatch(/^\[turn \d\] You said: again$/)
  const before = await said(schema)
  first.command.child.kill('SIGCONT')
  await first.command.said(/another host|host\.lost|fenced/)
  await cut.catch(() => undefined)
  await vi.waitFor(() => expect(ownedBy(pid)).toEqual([]), PATIENCE)
  expect(await said(schema)).toEqual(before)
  expect(await ask(first, 'a new one', 'eve')).toBe('[turn 1] You said: a new one')
})

test('A host that an operator drains gives its sessions to the others, and ends', async () => {
  const { all, env } = await hosts(2)
  const [first, second] = all as [Serving, Serving]
  expect(await ask(first, 'hello')).toBe('[turn 1] You said: hello')
  const drained = await run(['drain'], { cwd: first.folder, env })
  expect([drained.code, drained.stdout]).toEqual([0, expect.stringMatching(/drains/)])
  expect((await first.command.ended).code).toBe(0)
  expect(await ask(second, 'again')).toBe('[turn 2] You said: again')
})
