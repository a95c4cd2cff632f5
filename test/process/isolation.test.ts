import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer as createHttp } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { StartError } from '../../src/index.ts'
import type { AgentOptions } from '../../src/index.ts'
import { identify, living, signal } from '../faults/procfs.ts'
import { sentinelsOf } from '../faults/witness.ts'
import { httpMcpServer } from '../fixtures/http-mcp-server.ts'
import { startHost } from '../fixtures/other-host.ts'
import { MODEL, agents, modelAsked, openSite, record, say, textOf, until, workerOf } from '../fixtures/real-pool.ts'

const HAS_BUBBLEWRAP = existsSync('/usr/bin/bwrap')
const HAS_SOCAT = existsSync('/usr/bin/socat')

const SANDBOXED = { mode: 'bubblewrap', egress: 'none' } as const

const MCP_SERVER = fileURLToPath(new URL('../fixtures/large-mcp-server.ts', import.meta.url))

/** The processes of `claude` in the sandbox that a worker's first process is. */
const insideOf = (pid: number): number[] =>
  living()
    .filter(({ ppid }) => ppid === pid)
    .flatMap((init) => living().filter(({ ppid }) => ppid === init.pid))
    .map((entry) => entry.pid)

describe.runIf(HAS_BUBBLEWRAP)('An agent behind bubblewrap', () => {
  test('reaches its own files and the model, and nothing of the host, other tenants and the network', async () => {
    const site = await openSite()
    const pool = await site.pool({ isolation: SANDBOXED, agents: agents({ allowedTools: ['Bash'] }) })
    const other = await pool.session('other', { agent: 'a', tenant: 'other' })
    await textOf(other.send('@sim bash echo secret > canary'))
    const canary = join((await other.info()).cwd ?? '', 'canary')
    expect(await readFile(canary, 'utf8')).toBe('secret\n')
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const attacks = {
      environ: `cat /proc/${process.pid}/environ`,
      signal: `kill -0 ${process.pid}`,
      store: `cat ${site.dataDir}/pool.sqlite`,
      tenant: `cat ${canary}`,
      control: `ls ${site.dataDir}/run`,
      loopback: `exec 3<>/dev/tcp/127.0.0.1/${port}`,
      processes: 'test $(ls -d /proc/[0-9]* | wc -l) -gt 15',
      system: 'touch /usr/x',
      memory: `touch /x || touch /dev/x || touch ${site.dataDir}/x`,
      nested: 'unshare --user true',
    }
    const tries = Object.entries(attacks).map(([name, attack]) => `(${attack}) >/dev/null 2>&1 && echo REACHED ${name}`)
    const session = await pool.session('one', { agent: 'a' })
    const said = await textOf(session.send(`@sim bash ${[...tries, 'echo mine > own', 'cat own'].join('; ')}`))
    expect(said).toBe('[turn 1] tool said: mine')
  })

  test('goes on in the next pool and in a directory of the caller, from where it was', async () => {
    const site = await openSite()
    const cwd = await site.directory('project')
    const options = { isolation: SANDBOXED, agents: agents({ allowedTools: ['Bash'] }) }
    const before = await site.pool(options)
    await textOf((await before.session('one', { agent: 'a', cwd })).send('@sim bash echo kept > file'))
    await before.close()
    expect(await readFile(join(cwd, 'file'), 'utf8')).toBe('kept\n')
    const after = await site.pool(options)
    expect(await textOf((await after.session('one', { agent: 'a' })).send('@sim bash cat file'))).toBe(
      '[turn 2] tool said: kept',
    )
  })

  test('has no spares that wait for a directory, while an agent that is not sandboxed has', async () => {
    const site = await openSite()
    const [one, two] = [await site.directory('one'), await site.directory('two')]
    const kind = { model: MODEL, spares: { max: 0 } }
    const pool = await site.pool({
      agents: { open: kind, closed: { ...kind, isolation: { mode: 'bubblewrap' } } },
    })
    const started = record(pool, 'worker.started')
    // Two at once are a burst, after which spares start without delay.
    for (const agent of ['closed', 'open'])
      await Promise.all(
        [one, two].map(async (cwd) => textOf((await pool.session(`${agent} ${cwd}`, { agent, cwd })).send('hello'))),
      )
    await until(() => expect(started.some(({ worker }) => worker.purpose === 'unbound')).toBe(true))
    await pool.ready()
    expect(
      new Set(started.filter(({ worker }) => worker.purpose === 'unbound').map(({ worker }) => worker.agent)),
    ).toEqual(new Set(['open']))
  })

  test('that is killed is told as killed by that signal, and closing is not by force', async () => {
    const site = await openSite()
    const pool = await site.pool({ isolation: SANDBOXED })
    const closed = record(pool, 'worker.closed')
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'hello')
    const turn = session.send('second\n@sim silence')
    turn.result.catch(() => undefined)
    await modelAsked(site, 'second')
    const [inside] = insideOf(workerOf(pool, 'one').pid)
    signal(identify(inside ?? 0), 'SIGKILL')
    await expect(turn.result).rejects.toMatchObject({
      code: 'worker_exited',
      exitCause: 'signal',
      signal: 'SIGKILL',
    })
    await say(session, 'again')
    await pool.close()
    expect(closed.map(({ termination: { stage } }) => stage)).toEqual(['gone', 'eof'])
  })

  test('has its MCP servers if their files are shown, and is refused by name if they are not', async () => {
    const site = await openSite()
    const hidden = join(site.root, 'server.ts')
    await writeFile(hidden, '')
    const own = { command: process.execPath, args: ['--no-warnings', MCP_SERVER] }
    const project = fileURLToPath(new URL('../..', import.meta.url))
    const pool = await site.pool({
      isolation: { ...SANDBOXED, paths: { read: [project] } },
      agents: {
        ...agents({ allowedTools: ['mcp__large__give'], mcpServers: { large: own } }),
        hidden: { model: MODEL, spares: { max: 0 }, mcpServers: { shop: { command: 'sh', args: [hidden] } } },
      },
    })
    const session = await pool.session('one', { agent: 'a' })
    expect(await textOf(session.send('@sim tool mcp__large__give {"mebibytes":0}'))).toContain('{"rows":[]}')
    const refused = (await pool.session('two', { agent: 'hidden' })).send('hello').result
    await expect(refused).rejects.toThrow(StartError)
    await expect(refused).rejects.toThrow(`the MCP server "shop" needs ${hidden}`)
  })

  test.runIf(HAS_SOCAT)(
    'reaches listed places alone, from Bash, Node and for MCP, and what it sends is told (needs socat)',
    async () => {
      const site = await openSite()
      const asked: string[] = []
      const http = createHttp((request, response) => {
        asked.push(request.url ?? '')
        response.end('hello')
      }).listen(0, '127.0.0.1')
      await once(http, 'listening')
      onTestFinished(() => void http.close())
      const { port } = http.address() as AddressInfo
      const shop = new URL((await httpMcpServer('look')).url)
      const mine = `http://127.0.0.1:${port}`
      const options: AgentOptions = {
        allowedTools: ['Bash', 'mcp__shop__look'],
        mcpServers: { shop: { type: 'http', url: shop.href } },
      }
      const pool = await site.pool({
        isolation: { mode: 'bubblewrap', egress: { allow: [`127.0.0.1:${port}`, shop.host] } },
        agents: {
          ...agents(options),
          strict: { ...agents({ allowedTools: ['Bash'] })['a'], isolation: { egress: { allow: [shop.host] } } },
        },
      })
      const told = record(pool, 'egress')
      const session = await pool.session('one', { agent: 'a' })
      // The Node of this test: older ones of the system know no NODE_USE_ENV_PROXY.
      const fetched = `${process.execPath} -e "fetch('${mine}/node').then((r) => r.text()).then((t) => console.log(t))"`
      const away = `exec 3<>/dev/tcp/127.0.0.2/${port}`
      const tries = [
        `curl -s ${mine}/curl`,
        fetched,
        `curl -s http://127.0.0.1:1/`,
        `(${away}) 2>/dev/null && echo REACHED`,
      ]
      expect(await textOf(session.send(`@sim bash ${tries.join('; echo; ')}; true`))).toBe(
        '[turn 1] tool said: hello\nhello\n\n127.0.0.1:1 is not in isolation.egress.allow',
      )
      expect(asked).toEqual(['/curl', '/node'])
      expect(await textOf(session.send('@sim tool mcp__shop__look {}'))).toContain('look')
      const strict = await pool.session('two', { agent: 'strict', tenant: 'acme' })
      expect(await textOf(strict.send(`@sim bash curl -s ${mine}/`))).toContain('is not in isolation.egress.allow')
      await pool.close()
      const lines = told.map(({ tenant, agent, place, refused, receivedBytes }) =>
        [tenant, agent, place, refused > 0 ? 'refused' : receivedBytes > 0 ? 'received' : 'nothing'].join(' '),
      )
      expect(new Set(lines)).toEqual(
        new Set([
          `default a 127.0.0.1:${port} received`,
          'default a 127.0.0.1:1 refused',
          `default a ${shop.host} received`,
          `acme strict 127.0.0.1:${port} refused`,
        ]),
      )
    },
  )

  test('ends with its host by the kernel alone', async () => {
    const site = await openSite()
    const host = startHost(site, { isolation: SANDBOXED })
    await host.open()
    await host.ask({ do: 'send', key: 'one', text: 'hello\n@sim silence' })
    const identity = identify(host.pid)
    const sandboxed = (): unknown[] =>
      living().filter(({ command }) => command.includes('bwrap') && command.includes(site.dataDir))
    await until(() => expect(sandboxed()).not.toEqual([]))
    await modelAsked(site, 'hello')
    for (const sentinel of sentinelsOf(identity)) {
      signal(sentinel, 'SIGSTOP')
      onTestFinished(() => {
        signal(sentinel, 'SIGKILL')
      })
    }
    const inside = new Set(
      living().flatMap(({ pid, command }) => (command.includes(site.dataDir) ? insideOf(pid) : [])),
    )
    expect(inside.size).toBeGreaterThan(0)
    await host.kill()
    await until(() => expect([...sandboxed(), ...living().filter(({ pid }) => inside.has(pid))]).toEqual([]))
  })
})
