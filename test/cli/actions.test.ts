import { expect, test } from 'vitest'
import { agents, openSite, until } from '../fixtures/real-pool.ts'
import { Command, run } from './command.ts'

test('Sessions are interrupted and hibernated, workers closed, tenants suspended and resumed beside the host that runs them', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents() })
  const at = ['--data-dir', site.dataDir]
  const json = async (...args: string[]): Promise<[number | null, unknown]> => {
    const { code, stdout } = await run([...args, ...at, '--json'])
    return [code, JSON.parse(stdout)]
  }
  const session = await pool.session('one', { agent: 'a' })
  const turn = session.send('@sim silence')
  await until(() => expect(pool.turns()).toMatchObject([{ phase: { name: 'model' } }]))
  const worker = pool.workers()[0]?.id ?? ''

  const watched = new Command(['ps', ...at, '--json', '--watch', '100ms'])
  const seen = await watched.said(/^\[.*\n(.*\n)*\[.*\n/)
  for (const line of seen.trim().split('\n'))
    expect((JSON.parse(line) as { id: string; phase?: object }[]).find(({ id }) => id === worker)?.phase).toMatchObject(
      {
        name: 'model',
      },
    )
  watched.child.kill('SIGINT')
  expect((await watched.ended).code).toBe(130)

  const busy = await run(['sessions', 'hibernate', 'one', ...at])
  expect([busy.code, busy.stderr]).toEqual([1, expect.stringMatching(/runs a turn.*\(session_busy\)/)])
  expect(await json('workers', 'close', worker, 'w-none')).toEqual([
    1,
    {
      closed: [{ id: worker, closing: 'after_turn' }],
      failed: [
        { id: 'w-none', code: 'invalid_config', message: expect.stringContaining('there is no worker "w-none"') },
      ],
    },
  ])
  expect(await json('sessions', 'interrupt', 'one')).toEqual([0, { tenant: 'default', key: 'one', interrupted: true }])
  expect((await turn.result).subtype).not.toBe('success')
  await until(() => expect(pool.workers()).toEqual([]))
  const [idle, gone, unknown] = await Promise.all([
    json('sessions', 'interrupt', 'one'),
    json('sessions', 'hibernate', 'one'),
    run(['sessions', 'interrupt', 'none', ...at]),
  ])
  expect(idle).toEqual([0, { tenant: 'default', key: 'one', interrupted: false }])
  expect(gone).toEqual([0, { tenant: 'default', key: 'one', hibernated: false }])
  expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('(session_not_found)')])

  expect(await json('suspend', '--tenant', 'default')).toEqual([0, { tenant: 'default', suspended: true }])
  await expect(session.send('hello').result).rejects.toThrow('tenant "default" is suspended')
  const resumed = await run(['resume', '--tenant', 'default', ...at])
  expect([resumed.code, resumed.stdout]).toEqual([0, 'Resumed tenant default: turns start again\n'])
  await run(['suspend', ...at])
  expect(pool.stats().suspended).toEqual({ pool: true, tenants: [] })
  await run(['resume', ...at])
  expect((await session.send('hello').result).subtype).toBe('success')
  expect(await json('sessions', 'hibernate', 'one')).toEqual([0, { tenant: 'default', key: 'one', hibernated: true }])

  await pool.close()
  const [alone, nowhere] = await Promise.all([
    run(['suspend', ...at]),
    run(['workers', 'close', 'w-1', '--data-dir', `${site.root}/none`]),
  ])
  expect([alone.code, alone.stderr]).toEqual([2, expect.stringContaining(`no host runs on ${site.dataDir}`)])
  expect([nowhere.code, nowhere.stderr]).toEqual([2, expect.stringContaining('is no data directory')])
}, 240_000)
