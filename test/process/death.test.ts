import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  asked,
  event,
  isWritten,
  MODEL,
  modelAsked,
  openSite,
  say,
  textOf,
  until,
  workerOf,
} from '../fixtures/real-pool.ts'
import type { SDKUserMessage } from '../../src/driver/driver.ts'
import { WHOLE } from '../fixtures/whole.ts'

test('An idle process that is killed is noticed at once, and the next turn resumes', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const { id, pid } = workerOf(pool, 'one')
  const left = event(pool, 'worker.closed')
  process.kill(pid, 'SIGKILL')
  expect(await left).toMatchObject({
    worker: { id },
    reason: 'exited',
    exit: { cause: 'signal', exitCode: null, signal: 'SIGKILL' },
    termination: { stage: 'gone' },
  })
  expect(pool.stats().totals).toMatchObject({ exitsByCause: { signal: 1 }, terminationsByStage: { gone: 1 } })
  expect(pool.workers()).toEqual([])
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'resumed' })
})

test('A process that is killed in the middle of a turn fails that turn, and its prompt is never sent again', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const turn = session.send('second\n@sim silence')
  await modelAsked(site, 'second')
  await isWritten(site, 'second')
  const left = event(pool, 'worker.closed')
  process.kill(workerOf(pool, 'one').pid, 'SIGKILL')
  await expect(turn.result).rejects.toMatchObject({
    name: 'WorkerExitedError',
    code: 'worker_exited',
    exitCode: null,
    signal: 'SIGKILL',
    message: expect.stringMatching(/ended by SIGKILL during the turn.*next turn resumes/),
  })
  expect(await left).toMatchObject({ reason: 'exited' })
  expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'resumed' })
  expect(asked(site, 'second')).toHaveLength(1)
  expect(pool.stats().turns.running).toBe(0)
})

test('A reader hears of the end too, after all that was said before it', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: { a: { model: MODEL, includePartialMessages: true, spares: { max: 0 } } },
  })
  const session = await pool.session('one', { agent: 'a' })
  const seen: string[] = []
  const reading = (async () => {
    for await (const message of session.send('@sim say spoken\n@sim silence')) {
      if (message.type === 'stream_event') seen.push(JSON.stringify(message.event))
      if (seen.join('').includes('spoken')) process.kill(workerOf(pool, 'one').pid, 'SIGKILL')
    }
  })()
  await expect(reading).rejects.toMatchObject({ name: 'WorkerExitedError', signal: 'SIGKILL' })
  expect(seen.join('')).toContain('spoken')
})

test('The error of a process that ended by itself has its exit code and the last of its stderr', async () => {
  const site = await openSite()
  const claude = join(site.root, 'claude.mjs')
  // Answers initialize as the CLI does, and dies of the first prompt.
  const program = `
    import { createInterface } from 'node:readline'
    for await (const line of createInterface({ input: process.stdin })) {
      const message = JSON.parse(line)
      if (message.type === 'control_request') {
        const response = { subtype: 'success', request_id: message.request_id, response: { commands: [], models: [] } }
        console.log(JSON.stringify({ type: 'control_response', response }))
      }
      if (message.type !== 'user') continue
      for (let line = 0; line < 2000; line += 1) process.stderr.write('line ' + line + '\\n')
      process.stderr.write('the last words\\n', () => process.exit(3))
    }`
  await writeFile(claude, program)
  const pool = await site.pool({
    agents: { a: { pathToClaudeCodeExecutable: claude, executable: 'node', spares: { max: 0 } } },
  })
  const session = await pool.session('one', { agent: 'a' })
  const error = (await session.send('first').result.catch((reason: unknown) => reason)) as { stderr: string }
  expect(error).toMatchObject({
    name: 'WorkerExitedError',
    exitCause: 'crash',
    exitCode: 3,
    signal: null,
    message: expect.stringContaining('the last words'),
  })
  expect(error.stderr.endsWith('the last words\n')).toBe(true)
  expect(Buffer.byteLength(error.stderr)).toBeLessThanOrEqual(8 * 1024)
})

test.runIf(WHOLE)('A process that is killed while prompts are on their way to it harms nobody', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const { pid } = workerOf(pool, 'one')
  const large: SDKUserMessage = {
    type: 'user',
    message: { role: 'user', content: `second ${'x'.repeat(4 * 1024 * 1024)}` },
    parent_tool_use_id: null,
  }
  const turn = session.send(large)
  const queued = session.send('third', { onBusy: 'queue' })
  const steering = session.send('steered', { onBusy: 'steer' })
  process.kill(pid, 'SIGKILL')
  const [second, third, steered] = await Promise.allSettled([turn.result, textOf(queued), steering.result])
  expect(second).toMatchObject({ reason: { name: 'WorkerExitedError' } })
  expect(steered).toMatchObject({ reason: { name: expect.stringMatching(/WorkerExitedError|TurnInterruptedError/) } })
  expect(third).toMatchObject({ value: expect.stringMatching(/^\[turn [23]\] You said: third$/) })
  expect(asked(site, 'second').length).toBeLessThanOrEqual(1)
  expect(asked(site, 'third')).toHaveLength(1)
})

test.runIf(WHOLE)('A killed spare is replaced, and no conversation meets it', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { model: MODEL, spares: { min: 1, max: 1 } } } })
  const { worker } = await event(pool, 'worker.ready')
  const replaced = event(pool, 'worker.ready')
  const left = event(pool, 'worker.closed')
  process.kill(worker.pid ?? 0, 'SIGKILL')
  expect(await left).toMatchObject({ reason: 'exited', worker: { id: worker.id, session: undefined } })
  const { worker: next } = await replaced
  expect(next.id).not.toBe(worker.id)
  expect(await say(await pool.session('one', { agent: 'a' }), 'first')).toMatchObject({ warmth: 'spare' })
})

test('What a killed process had started goes with it', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { model: MODEL, spares: { max: 0 }, allowedTools: ['Bash'] } } })
  const session = await pool.session('one', { agent: 'a' })
  const { cwd } = await pool.warm('one').then(() => session.info())
  const script = join(site.root, 'stay.mjs')
  await writeFile(
    script,
    `import { writeFileSync } from 'node:fs'\nwriteFileSync('up', '')\nsetInterval(() => {}, 1000)\n`,
  )
  const turn = session.send(`@sim bash '${process.execPath}' ${script}`)
  await until(() => access(join(cwd ?? '', 'up')))
  const left = event(pool, 'worker.closed')
  process.kill(workerOf(pool, 'one').pid, 'SIGKILL')
  await expect(turn.result).rejects.toMatchObject({ name: 'WorkerExitedError' })
  const { termination } = await left
  expect(termination).toMatchObject({ stage: 'gone', left: 0 })
  expect(termination.stragglers).toBeGreaterThanOrEqual(1)
  expect(termination.processes).toBeGreaterThanOrEqual(termination.stragglers)
  expect(pool.stats().totals.processesEnded).toBe(termination.processes)
})
