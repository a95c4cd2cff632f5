import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { CanUseTool } from '../../src/driver/driver.ts'
import type { Pool, TurnPhase } from '../../src/index.ts'
import { agents, event, openSite, until } from '../fixtures/real-pool.ts'

/** The phase of the only turn. */
function phaseOf(pool: Pool): Omit<TurnPhase, 'since'> {
  const [turn] = pool.turns()
  const { since: _, ...phase } = turn?.phase ?? { since: 0, name: 'none' }
  return phase as TurnPhase
}

const isIn = (pool: Pool, phase: Omit<TurnPhase, 'since'>): Promise<void> =>
  until(() => expect(phaseOf(pool)).toEqual(phase))

test('A turn of the real process is in the phase that delays it: hooks, a question, tools, subagents, the model, its reader', async () => {
  const site = await openSite()
  const hook = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<void>()
  const canUseTool = async (_name: string, input: Record<string, unknown>): ReturnType<CanUseTool> => {
    await answer.promise
    return { behavior: 'allow', updatedInput: input }
  }
  const waitForHook = async (): Promise<object> => {
    await hook.promise
    return {}
  }
  const pool = await site.pool({
    agents: agents({
      canUseTool,
      permissionMode: 'default',
      allowedTools: ['Agent', 'Read'],
      hooks: { UserPromptSubmit: [{ hooks: [waitForHook] }] },
    }),
  })
  const session = await pool.session('one', { agent: 'a' })
  const bash = (file: string): string =>
    `until [ -e ${join(site.root, file)} ]; do sleep 0.05; done; mkdir -p ${site.root}/x`
  const create = (file: string): Promise<void> => writeFile(join(site.root, file), '')

  const ended = event(pool, 'turn.ended')
  const turn = session.send(`@sim bash ${bash('main')}`)
  await isIn(pool, { name: 'prompt' })
  hook.resolve()
  await isIn(pool, { name: 'permission', detail: 'Bash' })
  answer.resolve()
  await isIn(pool, { name: 'tool', detail: 'Bash' })
  await create('main')
  expect((await turn.result).subtype).toBe('success')
  const { phases, durationMs } = await ended
  expect(Object.values(phases).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(durationMs)
  const { queued: _, reader: __, ...were } = phases
  expect(Object.entries(were).filter(([, ms]) => ms <= 0)).toEqual([])

  const input = {
    description: 'wait',
    subagent_type: 'general-purpose',
    run_in_background: false,
    prompt: `@sim bash ${bash('sub')}\n@sim tool Read {"file_path":"/etc/hostname"}`,
  }
  const second = session.send(`@sim tool Agent ${JSON.stringify(input)}`)
  await isIn(pool, { name: 'tool', detail: 'Bash' })
  await create('sub')
  expect((await second.result).subtype).toBe('success')

  const third = session.send('@sim silence')
  await isIn(pool, { name: 'model' })
  await third.interrupt()
  await third.result

  const fourth = session.send(Array.from({ length: 4 }, () => '@sim text 1MiB chunk 256KiB').join('\n'))
  await fourth.next()
  await isIn(pool, { name: 'reader' })
  while ((await fourth.next()).done !== true);
  expect((await fourth.result).subtype).toBe('success')
  expect(pool.turns()).toEqual([])
}, 240_000)
