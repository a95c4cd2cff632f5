import { readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readRunFiles } from '../../../src/process/run-files.ts'
import { answer, fakes } from '../../fixtures/fakes.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const ONE_SPARE = { assistant: { spares: { min: 1, max: 1 }, unboundSpares: { max: 0 } } }

test('the run file of a spare says whose it became while its first turn still runs', async () => {
  const dataDir = await temporaryFolder()
  const { session, driver, clock } = await fakes({ dataDir, agents: ONE_SPARE })
  await clock.settle()
  const spare = await driver.process(0)
  spare.answersAtOnce = false
  const entry = { pid: spare.pid, tenant: 'default', agent: 'assistant' }
  expect(readRunFiles(join(dataDir, 'run'))).toMatchObject([entry])
  const turn = (await session('k')).send('Hello')
  await driver.until(() => spare.unanswered === 1)
  await clock.settle()
  expect(readRunFiles(join(dataDir, 'run'))).toMatchObject([{ ...entry, session: 'k' }])
  spare.finish()
  await turn.result
})

test('a worker that goes as it is bound leaves no run file behind', async () => {
  const dataDir = await temporaryFolder()
  const { pool, session, clock } = await fakes({ dataDir, agents: ONE_SPARE })
  await clock.settle()
  pool.on('worker.bound', () => void pool.close())
  void (await session('k')).send('Hello').result.catch(() => undefined)
  await clock.settle()
  await pool.close()
  await clock.settle()
  expect(await readdir(join(dataDir, 'run'))).toEqual([])
})

test('a run file that cannot be written is told as a warning, and the turn goes on', async () => {
  const dataDir = await temporaryFolder()
  const { pool, session, clock, driver, told } = await fakes({ dataDir, agents: ONE_SPARE })
  await clock.settle()
  await driver.process(0)
  expect(told('warning')).toEqual([])
  const run = join(dataDir, 'run')
  await rename(run, `${run}.away`)
  const turn = (await session('k')).send('Hello')
  const warned = new Promise((resolve) => pool.on('warning', resolve))
  expect(await answer(turn)).toBe('[turn 1] You said: Hello')
  expect(await warned).toMatchObject({
    message: expect.stringContaining('run file of worker'),
    error: { code: 'ENOENT' },
  })
  await rename(`${run}.away`, run)
})
