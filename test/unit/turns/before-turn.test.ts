import { describe, expect, test } from 'vitest'
import type { PrepareTurn } from '../../../src/index.ts'
import { NO_SPARES, fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const preparing = (prepare: PrepareTurn): Promise<Fakes> =>
  fakes({
    agents: {
      assistant: {
        ...NO_SPARES,
        inProcessServers(worker) {
          worker.beforeTurn(prepare)
          return {}
        },
      },
    },
  })

describe('what an agent does before its turns', () => {
  test('is done before each prompt is sent, by the id of its turn', async () => {
    const seen: string[] = []
    const asked = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    const { driver, clock, session } = await preparing(async ({ id }) => {
      seen.push(id)
      asked.resolve()
      await held.promise
    })
    const conversation = await session('k')
    const first = conversation.send('one')
    await asked.promise
    await clock.settle()
    expect(driver.processes[0]?.prompts).toEqual([])
    held.resolve()
    await first.result
    const second = conversation.send('two')
    await second.result
    expect(seen).toEqual([first.id, second.id])
    expect(driver.processes).toHaveLength(1)
  })

  test('fails the turn when it fails, and the process takes the next one', async () => {
    let broken = true
    const { driver, session } = await preparing(() =>
      broken ? Promise.reject(new Error('no tools')) : Promise.resolve(),
    )
    const conversation = await session('k')
    const failing = conversation.send('one')
    await expect(failing.result).rejects.toMatchObject({
      code: 'invalid_config',
      path: 'beforeTurn',
      message: expect.stringContaining('no tools'),
    })
    broken = false
    await conversation.send('two').result
    expect(driver.processes.flatMap(({ prompts }) => prompts)).toHaveLength(1)
  })
})
