import { expect, test } from 'vitest'
import { agents, openSite, until } from '../fixtures/real-pool.ts'
import { run } from './command.ts'
import { Terminal, hasTerminal } from './terminal.ts'

test('top shows the turns of the running host, and says if there is none', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents() })
  const at = ['--data-dir', site.dataDir]
  const session = await pool.session('plan', { agent: 'a' })
  const turn = session.send('@sim silence')
  await until(() => expect(pool.turns()).toMatchObject([{ phase: { name: 'model' } }]))
  const [{ code, stdout }, json, wrong] = await Promise.all([
    run(['top', ...at]),
    run(['top', '--json', ...at]),
    run(['top', '--sort', 'size', ...at]),
  ])
  expect([code, stdout]).toEqual([0, expect.stringMatching(/flowing: Turns flow: 1 runs[^]*^plan .*busy.* model, /m)])
  expect(JSON.parse(json.stdout)).toMatchObject({
    turns: [{ session: 'plan' }],
    workers: [{ session: 'plan', processes: 1 }],
  })
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('memory, age, phase')])

  if (hasTerminal) {
    const terminal = new Terminal(['top', '--every', '200ms', ...at], { cwd: site.root, columns: 100 })
    await terminal.shows(/plan .*model/)
    terminal.press('i')
    await terminal.shows(/mark a session with the arrow keys/)
    terminal.press('\u001B[B')
    terminal.press('i')
    await terminal.shows(/interrupt session default\/plan\? y\/n/)
    terminal.press('n')
    await terminal.shows(/nothing was done/)
    expect(pool.turns()).toHaveLength(1)
    terminal.press('i')
    terminal.press('y')
    await turn.result
    await terminal.shows(/done/)
    await terminal.shows(/idle: Nothing runs/)
    terminal.press('c')
    terminal.press('y')
    await terminal.shows(/No worker runs, and no turn waits/)
    terminal.press('q')
    expect((await terminal.ended).code).toBe(0)
  } else await turn.interrupt()

  await pool.close()
  const { code: alone, stderr } = await run(['top', ...at])
  expect([alone, stderr]).toEqual([2, expect.stringContaining(`no host runs on ${site.dataDir}`)])
}, 180_000)
