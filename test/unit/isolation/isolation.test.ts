import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { StartError } from '../../../src/index.ts'
import type { Confinement } from '../../../src/isolation/boundary.ts'
import { SandboxBoundary, openBoundary, tryBoundary } from '../../../src/isolation/isolation.ts'
import type { BoundaryRules } from '../../../src/isolation/isolation.ts'
import { Sandbox } from '../../../src/isolation/sandbox.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const TENANT = '/data/tenants/acme'

const INNER = {
  command: '/usr/bin/true',
  args: ['-p'],
  cwd: `${TENANT}/workspaces/one`,
  env: { CLAUDE_CONFIG_DIR: `${TENANT}/config`, PATH: '/usr/bin' },
}
const WITH_SOCKET = { ...INNER, env: { ...INNER.env, ANTHROPIC_UNIX_SOCKET: '/data/sockets/w-1/api.sock' } }

const OUT: Confinement = { network: { socket: '/data/sockets/w-1/out.sock', allow: [['shop.example:443']] } }

describe('A sandboxed process', () => {
  const boundary = (socat: string | undefined = '/usr/bin/socat'): SandboxBoundary =>
    new SandboxBoundary(
      new Sandbox({ program: '/usr/bin/bwrap', dataDir: '/data', read: [], write: [] }),
      'open',
      socat,
    )

  const served = (url: string): { mcpServers: object } => ({ mcpServers: { shop: { type: 'http', url } } })

  test('with an open network shares that of the host, and reaches any MCP server', () => {
    const { command, args, env, isSandbox } = boundary().wrap(INNER, served('http://127.0.0.1'), { network: 'open' })
    expect([command, isSandbox, env]).toEqual(['/usr/bin/bwrap', true, INNER.env])
    expect(args).not.toContain('--unshare-net')
    expect(args.slice(args.indexOf('--'))).toEqual(['--', '/usr/bin/true', '-p'])
  })

  test('with the model alone has a network of its own, and no MCP server elsewhere', () => {
    const { args, env, isSandbox } = boundary().wrap(WITH_SOCKET, {}, { network: 'model' })
    expect(args).toContain('--unshare-net')
    expect([isSandbox, env]).toEqual([true, WITH_SOCKET.env])
    const asks = (): unknown => boundary().wrap(WITH_SOCKET, served('https://shop.example/mcp'), { network: 'model' })
    expect(asks).toThrow('"shop" is at shop.example, and isolation.egress leaves no way there')
  })

  test.each([{ network: 'model' } as const, OUT])(
    'that has no socket of the credential proxy is refused behind %j',
    (confinement) => {
      expect(() => boundary().wrap(INNER, {}, confinement)).toThrow('the proxy does not hold this credential')
      expect(() => boundary().wrap(INNER, {}, confinement)).toThrow(StartError)
    },
  )

  test('with listed places gets a bridge beside it, and reaches MCP servers there and nowhere else', () => {
    const { args, env, isSandbox } = boundary().wrap(WITH_SOCKET, served('https://shop.example/mcp'), OUT)
    expect(args).toContain('--unshare-net')
    expect(args.slice(-4)).toEqual(['out.sock', '/usr/bin/socat', '/usr/bin/true', '-p'])
    expect(isSandbox).toBe(true)
    expect(env).toMatchObject({ ...WITH_SOCKET.env, HTTPS_PROXY: expect.stringContaining('http://127.0.0.1:') })
    for (const url of ['https://other.example/mcp', 'http://shop.example/mcp', 'no URL'])
      expect(() => boundary().wrap(WITH_SOCKET, served(url), OUT)).toThrow('isolation.egress leaves no way there')
  })

  test('with listed places needs socat', () => {
    const without = new SandboxBoundary(
      new Sandbox({ program: '/usr/bin/bwrap', dataDir: '/data', read: [], write: [] }),
      'open',
      undefined,
    )
    expect(() => without.wrap(WITH_SOCKET, {}, OUT)).toThrow('this process needs socat')
  })

  test('sees the directories that its agent adds', () => {
    const { args } = boundary().wrap(INNER, { additionalDirectories: ['/shared'] }, { network: 'open' })
    expect(args.join(' ')).toContain('--bind /shared /shared')
  })
})

/** What a probe says that found everything closed. */
const CLOSED = {
  host_environment: false,
  host_process: false,
  host_signal: false,
  store: false,
  other_tenant: false,
  control_socket: false,
  loopback: false,
  programs: true,
  own_files: true,
}

const prints = (result: object): string => `echo '${JSON.stringify(result)}'`

/** Runs the command as it is, behind nothing. */
const BEHIND_NOTHING = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'

const RULES: BoundaryRules = {
  modes: ['bubblewrap'],
  uids: { first: 50_000, count: 10 },
  network: 'closed',
  paths: { read: [], write: [] },
}

/** A machine where these programs are installed, each a shell script. */
async function machine(programs: Readonly<Record<string, string>>) {
  const folder = await temporaryFolder()
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  const storeFile = join(folder, 'pool.sqlite')
  writeFileSync(storeFile, '')
  return { dataDir: folder, storeFile, path: bin }
}

describe.runIf(process.platform === 'linux')('The sandbox is tried, and', () => {
  test('holds if a process inside reached nothing', async () => {
    const trial = await tryBoundary(RULES, await machine({ bwrap: prints(CLOSED) }))
    expect(trial).toMatchObject({ boundary: { mode: 'bubblewrap', network: 'closed' } })
  })

  test('does not hold if the host is reached', async () => {
    const trial = await tryBoundary(RULES, await machine({ bwrap: BEHIND_NOTHING }))
    expect(trial).toEqual({ problem: 'an isolated process reached the environment of other processes' })
  })

  test.each(['open', 'closed'] as const)('shares the network of the host only where that is %s', async (network) => {
    const shares = `case " $* " in *" --unshare-net "*) ${prints(CLOSED)};; *) ${prints({ ...CLOSED, own_files: false })};; esac`
    const trial = await tryBoundary({ ...RULES, network }, await machine({ bwrap: shares }))
    expect('boundary' in trial).toBe(network === 'closed')
  })

  test.each([
    ['says why it cannot be made', 'echo " no namespaces" >&2; exit 1', 'bwrap does not work here: no namespaces'],
    ['says what became of it', 'exit 3', 'bwrap does not work here: Command failed'],
  ])('%s', async (_, bwrap, says) => {
    const trial = await tryBoundary(RULES, await machine({ bwrap }))
    expect(trial).toMatchObject({ problem: expect.stringContaining(says), cause: expect.any(Error) })
  })

  test.each([
    ['bwrap', 'closed', {}],
    ['socat', 'bridged', { bwrap: prints(CLOSED) }],
  ] as const)('says that %s is not installed', async (program, network, programs) => {
    const trial = await tryBoundary({ ...RULES, network }, await machine(programs))
    expect(trial).toMatchObject({ problem: expect.stringMatching(new RegExp(`${program}.* is not installed`)) })
  })

  test('is tried with a bridge if socat is there, so that later agents may have one', async () => {
    const bridged = prints({ ...CLOSED, bridge: true })
    const places = await machine({ socat: '', bwrap: `case "$*" in *TCP-LISTEN*) ${bridged};; *) exit 1;; esac` })
    for (const network of ['open', 'bridged'] as const)
      expect(await tryBoundary({ ...RULES, network }, places)).toMatchObject({ boundary: { network: 'bridged' } })
  })

  test('is tried without a bridge where that does not work and no agent needs it', async () => {
    const places = await machine({ socat: '', bwrap: `case "$*" in *TCP-LISTEN*) exit 1;; esac; ${prints(CLOSED)}` })
    expect(await tryBoundary(RULES, places)).toMatchObject({ boundary: { network: 'closed' } })
    expect(await tryBoundary({ ...RULES, network: 'bridged' }, places)).toMatchObject({ problem: expect.any(String) })
  })

  test('shows the folder of socat where there is a bridge', async () => {
    const at = (path: string): string => `*"--ro-bind ${path} "*`
    const places = await machine({ socat: '' })
    const script = `case "$*" in ${at(places.path)}) ${prints({ ...CLOSED, bridge: true })};; *) exit 1;; esac`
    writeFileSync(join(places.path, 'bwrap'), `#!/bin/sh\n${script}\n`)
    chmodSync(join(places.path, 'bwrap'), 0o755)
    expect(await tryBoundary(RULES, places)).toMatchObject({ boundary: { network: 'bridged' } })
  })
})

describe.runIf(process.platform === 'linux')('Of several modes', () => {
  test('the first that holds is taken', async () => {
    const rules = { ...RULES, modes: ['user', 'bubblewrap'] } as const
    expect(await tryBoundary(rules, await machine({ bwrap: prints(CLOSED) }))).toMatchObject({
      boundary: { mode: 'bubblewrap' },
    })
  })

  test('none holds: an error says what is wrong with each, and keeps the first cause', async () => {
    const places = await machine({ bwrap: 'echo no namespaces >&2; exit 1' })
    const error = await openBoundary({ ...RULES, modes: ['bubblewrap', 'user'] }, places).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(StartError)
    expect(error).toMatchObject({ phase: 'isolation', cause: expect.objectContaining({ code: 1 }) })
    expect((error as Error).message).toMatch(
      /^isolation\.mode "bubblewrap" or "user": bwrap does not work here: no namespaces; .*(setpriv is not installed|a host that is root)/,
    )
  })

  test('an error without a cause has none', async () => {
    const error = await openBoundary(RULES, await machine({})).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(StartError)
    expect(Object.hasOwn(error as object, 'cause')).toBe(false)
  })

  test('one that holds is opened', async () => {
    expect(await openBoundary(RULES, await machine({ bwrap: prints(CLOSED) }))).toBeInstanceOf(SandboxBoundary)
  })
})
