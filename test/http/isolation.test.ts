import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { hashKey } from '../../src/server/auth/authenticator.ts'
import { run } from '../cli/command.ts'
import { Frames } from '../fixtures/server.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { post, serve } from './serving.ts'
import type { Serving } from './serving.ts'

const AGENTS = 'agents: { a: { spares: { max: 0 }, model: claude-sonnet-5, allowedTools: [Bash] } }'
const KEYS = { acme: 'cap_acme_0123456789abcdef0123', beta: 'cap_beta_0123456789abcdef0123' }

const keysOf = (...tenants: (keyof typeof KEYS)[]): string =>
  `server: { keys: [${tenants.map((tenant) => `{ tenant: ${tenant}, sha256: ${hashKey(KEYS[tenant])} }`).join(', ')}] }`

const ONE = AGENTS
const SEVERAL = `${AGENTS}\n${keysOf('acme', 'beta')}`

/** Where no `bwrap` is. */
const WITHOUT = { env: { PATH: '/nonexistent' } }

const isolationOf = async ({ url }: Serving): Promise<unknown> =>
  ((await (await fetch(`${url}/pressure`)).json()) as { isolation: unknown }).isolation

async function ask(serving: Serving, tenant: keyof typeof KEYS, prompt: string): Promise<string | undefined> {
  const answer = await post(serving, 'one', prompt, { headers: { 'x-api-key': KEYS[tenant] } })
  const said = (await new Frames(answer).rest()).map(({ data }) => data as { type?: string; result?: string })
  return said.find(({ type }) => type === 'result')?.result ?? JSON.stringify(said.at(-1))
}

const warnings = (stderr: string): string[] => stderr.split('\n').filter((line) => line.includes('rights of this user'))

describe.runIf(existsSync('/usr/bin/bwrap'))('serve, where bubblewrap works', () => {
  test('keeps several tenants apart, and leaves their agents the model alone', async () => {
    const serving = await serve(SEVERAL)
    expect(await isolationOf(serving)).toBe('bubblewrap')
    await ask(serving, 'acme', '@sim bash echo canary-of-acme > canary')
    const { port } = new URL(serving.url)
    const attacks = {
      tenant: `grep -r 'canary-of-[a]cme' ${serving.folder}`,
      environ: `cat /proc/${serving.command.child.pid}/environ`,
      loopback: `exec 3<>/dev/tcp/127.0.0.1/${port}`,
    }
    const tries = Object.entries(attacks).map(([name, attack]) => `(${attack}) >/dev/null 2>&1 && echo REACHED ${name}`)
    expect(await ask(serving, 'beta', `@sim bash ${tries.join('; ')}; echo none`)).toBe('[turn 1] tool said: none')
    serving.command.child.kill('SIGTERM')
    const { code, left, stderr } = await serving.command.ended
    expect([code, left, warnings(stderr)]).toEqual([0, 0, []])
  })

  test('isolates the agents of one tenant with the network open, and takes no second tenant without a restart', async () => {
    const serving = await serve(`${AGENTS}\n${keysOf('acme')}`)
    const { port } = new URL(serving.url)
    const tries = `cat /proc/${serving.command.child.pid}/environ; exec 3<>/dev/tcp/127.0.0.1/${port} && echo open`
    expect(await ask(serving, 'acme', `@sim bash (${tries}) 2>/dev/null`)).toBe('[turn 1] tool said: open')
    await writeFile(join(serving.folder, 'claude-agent-pool.config.yaml'), SEVERAL)
    serving.command.child.kill('SIGHUP')
    const said = await serving.command.said(/all stays as it was.*\n/)
    expect(said).toContain('server.keys: name several tenants now, which needs stronger isolation')
    expect((await fetch(`${serving.url}/v1/sessions`, { headers: { 'x-api-key': KEYS.beta } })).status).toBe(401)
  })
})

describe('serve, where no mode works', () => {
  test('serves one tenant without isolation, and says so once', async () => {
    const serving = await serve(ONE, WITHOUT)
    expect(await isolationOf(serving)).toBe('none')
    serving.command.child.kill('SIGTERM')
    const { code, stderr } = await serving.command.ended
    expect([code, warnings(stderr)]).toEqual([0, [expect.stringContaining('bwrap is not installed')]])
  })

  test('does not start for several tenants, unless the config says that they need no isolation', async () => {
    const cwd = await temporaryFolder()
    await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), SEVERAL)
    const { code, stderr, left } = await run(['serve', '--port', '0', '--simulate'], { cwd, ...WITHOUT })
    expect([code, left]).toEqual([1, 0])
    expect(stderr).toContain('a server of several tenants needs isolation. isolation.mode "bubblewrap": bwrap')
    expect(stderr).toContain('write isolation.mode "none"')
    const serving = await serve(`${SEVERAL}\nisolation: { mode: none }`, WITHOUT)
    serving.command.child.kill('SIGTERM')
    expect(warnings((await serving.command.ended).stderr)).toHaveLength(1)
  })
})
