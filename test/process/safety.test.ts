import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { agents, asked, event, openSite, record, say, textOf, workerOf } from '../fixtures/real-pool.ts'
import { startHost } from '../fixtures/other-host.ts'

test('Nothing of the environment of the host reaches the agent but what is on the list', async () => {
  const site = await openSite()
  const host = startHost(
    site,
    { agents: agents({ allowedTools: ['Bash'], env: { OF_THE_AGENT: 'yes' } }) },
    {
      DATABASE_URL: 'postgres://user:fake-secret@db',
      AWS_SECRET_ACCESS_KEY: 'fake-secret',
      GITHUB_TOKEN: 'fake-secret',
      NODE_OPTIONS: '--no-warnings',
      CLAUDECODE: '1',
      CLAUDE_CODE_ENTRYPOINT: 'nested',
      ANTHROPIC_AUTH_TOKEN: 'fake-secret',
      TZ: 'Europe/Vienna',
    },
  )
  await host.open()
  const { text } = (await host.ask({ do: 'say', key: 'one', text: '@sim bash env' })) as { text: string }
  expect(text).not.toContain('fake-secret')
  const names = new Set([...text.matchAll(/^(?:.*tool said: )?(\w+)=/gm)].map(([, name]) => name))
  for (const name of ['DATABASE_URL', 'AWS_SECRET_ACCESS_KEY', 'GITHUB_TOKEN', 'NODE_OPTIONS', 'ANTHROPIC_AUTH_TOKEN'])
    expect(names).not.toContain(name)
  for (const name of ['PATH', 'HOME', 'TZ', 'OF_THE_AGENT', 'CLAUDE_CONFIG_DIR']) expect(names).toContain(name)
  expect(text).toContain('TZ=Europe/Vienna')
  const { HOME } = process.env
  expect(text).not.toContain(`HOME=${HOME}\n`)
  // The CLI itself would refuse to start, or take itself for nested, if it had inherited these.
  const [worker] = (await host.ask({ do: 'workers' })) as { pid: number }[]
  const environment = await readFile(`/proc/${worker?.pid}/environ`, 'latin1')
  expect(environment).not.toMatch(/CLAUDECODE=|CLAUDE_CODE_ENTRYPOINT=nested|fake-secret/)
})

test('Neither the API key nor the secrets of a tool server are in the command line', async () => {
  const site = await openSite()
  const pool = await site.pool({
    api: { baseUrl: site.simulator.url, key: 'sk-fake-key' },
    agents: agents({
      mcpServers: {
        remote: { type: 'http', url: 'http://127.0.0.1:9/mcp', headers: { authorization: 'Bearer fake-secret' } },
        local: { command: process.execPath, args: ['-e', '0'], env: { TOKEN: 'fake-secret' } },
      },
    }),
  })
  const session = await pool.session('one', { agent: 'a' })
  await session.warm()
  const commandLine = await readFile(`/proc/${workerOf(pool, 'one').pid}/cmdline`, 'latin1')
  expect(commandLine).not.toMatch(/fake-secret|sk-fake-key/)
})

test('Settings, instructions and memory of the user and of the directory are not loaded', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const evil = { permissions: { allow: ['Bash'] }, env: { FROM_SETTINGS: 'fake' } }
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a', cwd })
  const config = join(site.dataDir, 'tenants', 'default', 'config')
  for (const dir of [join(cwd, '.claude'), config, join(site.dataDir, 'tenants', 'default', 'home', '.claude')]) {
    await mkdir(dir, { recursive: true })
    await writeFile(join(dir, 'settings.json'), JSON.stringify(evil))
    await writeFile(join(dir, 'CLAUDE.md'), 'Remember the fake instruction.')
  }
  await writeFile(join(cwd, 'CLAUDE.md'), 'Remember the fake instruction.')
  await writeFile(
    join(cwd, '.mcp.json'),
    JSON.stringify({ mcpServers: { evil: { command: 'touch', args: [join(site.root, 'evil')] } } }),
  )
  await say(session, '@sim bash touch ran')
  expect(await readdir(cwd)).not.toContain('ran')
  expect(await readdir(site.root)).not.toContain('evil')
  for (const { body } of site.simulator.requests) {
    expect(JSON.stringify(body)).not.toContain('fake instruction')
    expect(JSON.stringify(body)).not.toContain('mcp__evil')
  }
})

test('By default a command is denied without asking anybody, and a tool that was allowed runs', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { ...agents(), b: { ...agents()['a'], allowedTools: ['Bash'] } } })
  const one = await pool.session('one', { agent: 'a' })
  const turn = one.send('@sim bash touch ran')
  const result = await turn.result
  expect(result.permission_denials).toMatchObject([{ tool_name: 'Bash' }])
  expect(await readdir((await one.info()).cwd ?? '')).not.toContain('ran')
  const two = await pool.session('two', { agent: 'b' })
  await say(two, '@sim bash touch ran')
  expect(await readdir((await two.info()).cwd ?? '')).toContain('ran')
})

test('Each tenant has its own home, config and workspaces, and no session of another', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ allowedTools: ['Bash'] }) })
  const command = '@sim bash echo $HOME $CLAUDE_CONFIG_DIR $PWD'
  const places: string[][] = []
  for (const tenant of ['acme', 'Acme', 'default']) {
    const session = await pool.session('one', { agent: 'a', tenant })
    places.push((await say(session, command)).text.replace('[turn 1] tool said: ', '').split(' '))
  }
  for (const index of [0, 1, 2]) expect(new Set(places.map((own) => own[index])).size).toBe(3)
  for (const own of places) {
    const root = own[0]?.replace(/\/home$/, '/') ?? ''
    for (const path of own) expect(path.startsWith(root)).toBe(true)
  }
  await expect(pool.session('one', { tenant: 'other' })).rejects.toMatchObject({ code: 'session_not_found' })
  expect((await pool.sessions({ tenant: 'acme' })).map(({ tenant }) => tenant)).toEqual(['acme'])
})

test('A spare serves its own tenant and no other', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ spares: { min: 1, max: 1 } }) })
  const { worker } = await event(pool, 'worker.ready')
  const started = record(pool, 'worker.started')
  const other = await pool.session('one', { agent: 'a', tenant: 'acme' })
  expect(await say(other, 'first')).toEqual({ text: '[turn 1] You said: first', warmth: 'cold' })
  expect(started[0]?.worker.tenant).toBe('acme')
  expect(pool.workers().find(({ id }) => id === worker.id)).toMatchObject({ session: undefined, turns: 0 })
  expect((await say(await pool.session('one', { agent: 'a' }), 'first')).warmth).toBe('spare')
})

test('A prompt is text: what looks like a command or a mention of a file is not followed', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  await writeFile(join(cwd, 'secret.txt'), 'the fake secret')
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a', cwd })
  expect(await textOf(session.send('/clear'))).toBe('[turn 1] You said: /clear')
  await say(session, 'see @secret.txt')
  expect(asked(site, 'see').length).toBe(1)
  expect(JSON.stringify(asked(site, 'see')[0]?.body)).not.toContain('the fake secret')
})
