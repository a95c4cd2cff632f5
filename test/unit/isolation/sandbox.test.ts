import { mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { StartError } from '../../../src/index.ts'
import { checkCommands } from '../../../src/isolation/hidden-commands.ts'
import { Sandbox, isWithin } from '../../../src/isolation/sandbox.ts'
import type { SandboxRules, SandboxedCommand } from '../../../src/isolation/sandbox.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const DATA = '/data'
const TENANT = `${DATA}/tenants/acme`
const CWD = `${TENANT}/workspaces/one`

const inner = (more: Partial<SandboxedCommand> = {}): SandboxedCommand => ({
  command: '/usr/bin/true',
  args: [],
  cwd: CWD,
  sharesNetwork: true,
  env: {
    HOME: `${TENANT}/home`,
    CLAUDE_CONFIG_DIR: `${TENANT}/config`,
    TMPDIR: `${TENANT}/tmp`,
    ANTHROPIC_UNIX_SOCKET: `${DATA}/sockets/w-1/api.sock`,
  },
  ...more,
})

const sandbox = (rules: Partial<SandboxRules> = {}): Sandbox =>
  new Sandbox({ program: '/usr/bin/bwrap', dataDir: DATA, read: [], write: [], ...rules })

/** What is mounted, in order: how, and where. */
function mountsOf(made: Sandbox, command = inner()): string[] {
  const { args } = made.wrap(command)
  return args.slice(0, args.indexOf('--')).flatMap((word, at) => {
    if (word === '--tmpfs') return [`tmpfs ${args[at + 1]}`]
    return word === '--bind' || word === '--ro-bind' ? [`${word.slice(2)} ${args[at + 2]}`] : []
  })
}

test('a process can write to its tenant’s places, its directory and its socket’s folder, and to nothing else', () => {
  const written = mountsOf(sandbox()).filter((mount) => mount.startsWith('bind '))
  expect(written).toEqual(
    [`${TENANT}/home`, `${TENANT}/config`, `${TENANT}/tmp`, CWD, `${DATA}/sockets/w-1`].map((path) => `bind ${path}`),
  )
})

test('the data directory is covered after everything that may show it, and before what belongs to the process', () => {
  const mounts = mountsOf(sandbox({ read: ['/srv'], write: ['/'.concat('mnt')] }), inner({ write: ['/shared'] }))
  const cover = mounts.indexOf(`tmpfs ${DATA}`)
  for (const path of ['ro-bind /srv', 'bind /mnt', 'bind /shared']) expect(mounts.indexOf(path)).toBeLessThan(cover)
  for (const path of [`bind ${TENANT}/home`, `bind ${CWD}`]) expect(mounts.indexOf(path)).toBeGreaterThan(cover)
})

test('the sockets of the CLI, which has the same pid in every sandbox, are a process’s own', () => {
  expect(mountsOf(sandbox()).at(-1)).toBe(`tmpfs ${TENANT}/tmp/cc-socks`)
})

test('a home elsewhere, which an agent’s environment may name, is not shown', () => {
  const env = { ...inner().env, HOME: '/root' }
  expect(mountsOf(sandbox(), inner({ env })).join()).not.toContain('/root')
})

test('without the host’s network the process has a network of its own', () => {
  expect(sandbox().wrap(inner({ sharesNetwork: false })).args).toContain('--unshare-net')
  expect(sandbox().wrap(inner()).args).not.toContain('--unshare-net')
})

test.each([
  ['the whole machine', { cwd: '/' }],
  ['another tenant’s workspace', { cwd: `${DATA}/tenants/other/workspaces/one` }],
  ['the data directory', { write: [DATA] }],
])('%s is not shown', (_, more) => {
  expect(() => sandbox().wrap(inner(more))).toThrow(StartError)
})

test('what holds the places in memory cannot be written to', () => {
  const { args } = sandbox().wrap(inner())
  const last = args.slice(args.indexOf('--remount-ro'), args.indexOf('--chdir'))
  expect(last).toEqual(['/', '/dev', DATA].flatMap((path) => ['--remount-ro', path]))
})

test('a link that leads to another tenant’s folder, or out of the tenant’s, is not shown', async () => {
  const dataDir = await temporaryFolder()
  const tenant = join(dataDir, 'tenants', 'acme')
  const foreign = join(dataDir, 'tenants', 'other')
  for (const folder of [foreign, join(tenant, 'workspaces', 'one')]) mkdirSync(folder, { recursive: true })
  const link = join(tenant, 'workspaces', 'one', 'link')
  symlinkSync(foreign, link)
  const env = { CLAUDE_CONFIG_DIR: join(tenant, 'config') }
  const made = sandbox({ dataDir })
  expect(() => made.wrap(inner({ env, cwd: link }))).toThrow('it is not of this tenant')
  expect(() => made.wrap(inner({ env, cwd: dirname(link), write: [link] }))).toThrow('it is not of this tenant')
  expect(() => made.wrap(inner({ env: { ...env, HOME: link }, cwd: dirname(link) }))).toThrow(
    'it is not of this tenant',
  )
  expect(() => made.wrap(inner({ env, cwd: dirname(link) }))).not.toThrow()
})

test.each([
  ['/a/b', '/a', true],
  ['/a', '/a', true],
  ['/ab', '/a', false],
  ['/', '/a', false],
  ['/a/..b', '/a', true],
])('%s is within %s: %s', (path, folder, expected) => {
  expect(isWithin(path, folder)).toBe(expected)
})

test('an MCP server whose program or script is hidden is refused by name, until its folder is shown', async () => {
  const folder = await temporaryFolder()
  const servers = { shop: { command: 'sh', args: [folder] }, remote: { type: 'http', url: 'http://127.0.0.1' } }
  const command = inner({ env: { ...inner().env, PATH: '/usr/bin:/bin' } })
  let open: string | undefined = 'http://127.0.0.1'
  const check = (made: Sandbox): void => checkCommands(made, command, servers, (url) => url === open)
  expect(() => check(sandbox())).toThrow(`the MCP server "shop" needs ${folder}`)
  expect(() => check(sandbox({ read: [folder] }))).not.toThrow()
  open = undefined
  expect(() => check(sandbox({ read: [folder] }))).toThrow('"remote" is at 127.0.0.1, and isolation.egress leaves')
})
