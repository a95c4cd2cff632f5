import { chmod, readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { StartError } from '../../src/index.ts'
import { identify, signal } from '../faults/procfs.ts'
import { WHOLE } from '../fixtures/whole.ts'
import { MODEL, agents, modelAsked, openSite, record, say, textOf, until, workerOf } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'

const USERS = { mode: 'user', uids: { first: 50_000, count: 10 } } as const

const isRoot = process.platform === 'linux' && process.geteuid?.() === 0

/** A site whose folder the users of tenants can enter. */
async function passable(): Promise<Site> {
  const site = await openSite()
  await chmod(site.root, 0o711)
  return site
}

describe.runIf(isRoot)('An agent with the user of its tenant (needs root)', () => {
  test('has its own files and the model, and nothing of the host and of other tenants; kills keep their causes', async () => {
    const site = await passable()
    const pool = await site.pool({ isolation: USERS, agents: agents({ allowedTools: ['Bash'] }) })
    expect(pool.stats().isolation.mode).toBe('user')
    const other = await pool.session('other', { agent: 'a', tenant: 'other' })
    await textOf(other.send('@sim bash echo secret > canary'))
    const canary = join((await other.info()).cwd ?? '', 'canary')
    const { pid } = workerOf(pool, 'other')
    const attacks = {
      environ: `cat /proc/${process.pid}/environ`,
      neighbour: `cat /proc/${pid}/environ`,
      memory: `head -c 1 /proc/${pid}/mem`,
      signal: `kill -0 ${process.pid} || kill -0 ${pid}`,
      store: `cat ${site.dataDir}/pool.sqlite`,
      names: `ls ${site.dataDir} || ls ${site.dataDir}/tenants || ls ${site.dataDir}/sockets`,
      tenant: `cat ${canary}`,
      control: `ls ${site.dataDir}/run`,
      system: 'touch /usr/x',
      user: 'grep -q "NoNewPrivs:.0" /proc/self/status',
    }
    const tries = Object.entries(attacks).map(([name, attack]) => `(${attack}) >/dev/null 2>&1 && echo REACHED ${name}`)
    const session = await pool.session('one', { agent: 'a', tenant: 'one' })
    const said = await textOf(
      session.send(`@sim bash ${[...tries, 'id -u; id -G; echo mine > own; cat own'].join('; ')}`),
    )
    expect(said).toBe('[turn 1] tool said: 50001\n50001\nmine')
    await until(() => expect(pool.workers().map(({ memoryBytes = 0 }) => memoryBytes > 0)).toEqual([true, true]))
    const turn = session.send('second\n@sim silence')
    turn.result.catch(() => undefined)
    await modelAsked(site, 'second')
    signal(identify(workerOf(pool, 'one').pid), 'SIGKILL')
    await expect(turn.result).rejects.toMatchObject({ code: 'worker_exited', exitCause: 'signal', signal: 'SIGKILL' })
    const closed = record(pool, 'worker.closed')
    expect((await say(session, 'again')).text).toContain('turn')
    await pool.close()
    expect(closed.map(({ termination }) => [termination.stage, termination.left])).toEqual([
      ['eof', 0],
      ['eof', 0],
    ])
  })

  test('goes on in the next pool, also in another mode, and its files go with its session', async () => {
    const site = await passable()
    const options = { agents: agents({ allowedTools: ['Bash'] }) }
    const before = await site.pool({ ...options, isolation: USERS })
    await textOf((await before.session('one', { agent: 'a' })).send('@sim bash umask 077; mkdir d; echo kept > d/file'))
    await before.close()
    const plain = await site.pool(options)
    const there = await plain.session('one', { agent: 'a' })
    expect(await textOf(there.send('@sim bash id -u; cat d/file'))).toBe('[turn 2] tool said: 0\nkept')
    const file = join((await there.info()).cwd ?? '', 'd/file')
    expect((await stat(file)).uid).toBe(0)
    await plain.close()
    const after = await site.pool({ ...options, isolation: USERS })
    const session = await after.session('one', { agent: 'a' })
    expect(await textOf(session.send('@sim bash cat d/file'))).toBe('[turn 3] tool said: kept')
    expect((await stat(file)).uid).toBe(50_000)
    const copy = await session.fork('two')
    const forked = join((await copy.info()).cwd ?? '', 'd/file')
    expect([await readFile(forked, 'utf8'), (await stat(forked)).uid]).toEqual(['kept\n', 50_000])
    await session.delete()
    await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await readdir(join(site.dataDir, 'tenants'))).toEqual(['default'])
  })

  // The same way as without isolation, so it is run by hand.
  test.runIf(WHOLE)('is claimed from a process that waited for a directory', async () => {
    const site = await passable()
    const cwd = await site.directory('project')
    const kind = { model: MODEL, spares: { max: 0 }, unboundSpares: { min: 1, max: 1 }, allowedTools: ['Bash'] }
    const pool = await site.pool({ isolation: USERS, agents: { a: kind } })
    await pool.ready()
    const session = await pool.session('one', { agent: 'a', cwd })
    expect(await say(session, '@sim bash id -u; pwd')).toEqual({
      text: `[turn 1] tool said: 50000\n${cwd}`,
      warmth: 'spare',
    })
  })

  test('is refused at start if its user cannot enter the data directory, or the directory that it is to work in', async () => {
    const site = await openSite()
    const closed = site.pool({ isolation: USERS })
    await expect(closed).rejects.toThrow(StartError)
    await expect(closed).rejects.toThrow('put dataDir below /var/lib')
    await chmod(site.root, 0o711)
    const pool = await site.pool({ isolation: USERS })
    const cwd = await site.directory('closed')
    await chmod(cwd, 0o700)
    await expect((await pool.session('one', { agent: 'a', cwd })).send('hello').result).rejects.toThrow(
      'cannot be entered by user 50000',
    )
  })
})
