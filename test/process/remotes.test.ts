import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { placesOf } from '../fixtures/credentials.ts'
import { guardedMcpServer } from '../fixtures/http-mcp-server.ts'
import { agents, openSite, record, textOf, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'

const run = promisify(execFile)

const secret = (): string => `far-secret-${randomBytes(16).toString('hex')}`

/** A repository that is served to those who bring this credential. */
async function gitServer({ root }: Site, authorization: string): Promise<string> {
  const bare = join(root, 'app.git')
  await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', bare])
  const work = join(root, 'work')
  const git = (...args: string[]): Promise<unknown> =>
    run('git', ['-C', work, '-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args])
  await run('git', ['clone', '--quiet', bare, work])
  await writeFile(join(work, 'file'), 'from afar\n')
  await git('add', 'file')
  await git('commit', '--quiet', '-m', 'first')
  await git('push', '--quiet', 'origin', 'HEAD:main')
  await run('git', ['-C', bare, 'update-server-info'])
  const http = createServer((request, response) => {
    const path = join(root, new URL(request.url ?? '', 'http://x').pathname)
    if (request.headers.authorization !== authorization) return void response.writeHead(401).end()
    if (!existsSync(path)) return void response.writeHead(404).end()
    createReadStream(path).pipe(response)
  }).listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(() => {
    http.close()
    http.closeAllConnections()
  })
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}/app.git`
}

test.runIf(process.platform === 'linux').each([
  { where: 'without a sandbox', isolation: undefined, base: 'http://127.0.0.1:' },
  ...(existsSync('/usr/bin/bwrap') && existsSync('/usr/bin/socat')
    ? [
        {
          where: 'in a sandbox whose network is closed',
          isolation: { mode: 'bubblewrap', egress: 'none' } as const,
          base: 'http://127.0.0.1:3128/',
        },
      ]
    : []),
])('an agent $where uses an MCP server and a repository whose secrets it never has', async ({ isolation, base }) => {
  const site = await openSite()
  const [token, password] = [secret(), secret()]
  const { url } = await guardedMcpServer(`Bearer ${token}`, 'look')
  const basic = `Basic ${Buffer.from(`x:${password}`).toString('base64')}`
  const repository = await gitServer(site, basic)
  const pool = await site.pool({
    ...(isolation === undefined ? {} : { isolation }),
    agents: agents({
      allowedTools: ['Bash', 'mcp__shop__look'],
      mcpServers: { shop: { type: 'http', url, headers: { Authorization: `Bearer ${token}` } } },
      remotes: { app: { url: repository, basic: { username: 'x', password } } },
    }),
  })
  const told = record(pool, 'egress')
  const session = await pool.session('one', { agent: 'a' })
  expect(await textOf(session.send('@sim tool mcp__shop__look {}'))).toContain('look')
  const tries = [
    `git clone --quiet ${repository} copy && cat copy/file`,
    'git config --file copy/.git/config remote.origin.url',
    'echo $REMOTE_URL_APP',
    // Neither the credential of another process nor none is good for anything.
    'curl -s -o /dev/null -w "%{http_code}" ${REMOTE_URL_APP%%//*}//${REMOTE_URL_APP#*@}/HEAD',
  ]
  const said = await textOf(session.send(`@sim bash ${tries.join('; ')}`))
  const [file, origin, address = '', refused] = said.replace('[turn 2] tool said: ', '').split('\n')
  expect([file, origin, refused]).toEqual(['from afar', repository, '401'])
  expect(address).toMatch(/^http:\/\/agent:car-[\w-]{43}@127\.0\.0\.1:\d+\/app\.git$/)
  expect(address.replace(/agent:.*@/, '')).toContain(base)
  for (const text of [token, password, basic.slice(6)]) expect(await placesOf(text, [site.root])).toEqual([])
  await until(() =>
    expect(
      new Set(told.filter(({ receivedBytes }) => receivedBytes > 0).map(({ tenant, place }) => `${tenant} ${place}`)),
    ).toEqual(new Set([url, repository].map((at) => `default ${new URL(at).host}`))),
  )
})
