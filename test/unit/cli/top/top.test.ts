import { expect, test } from 'vitest'
import type { HostOverview } from '../../../../src/control/operations.ts'
import { operate } from '../../../../src/control/operations.ts'
import { frameOf } from '../../../../src/cli/top/frame.ts'
import type { View } from '../../../../src/cli/top/frame.ts'
import { keysIn, wishOf } from '../../../../src/cli/top/keys.ts'
import { rowsOf } from '../../../../src/cli/top/rows.ts'
import type { Row } from '../../../../src/cli/top/rows.ts'
import { styleOf } from '../../../../src/cli/shared/style.ts'
import { fakes } from '../../../fixtures/fakes.ts'

const plain = styleOf({ isTTY: false } as NodeJS.WriteStream)

async function* nothing(): AsyncGenerator<string> {
  // No line follows.
}

/** A host with a turn in each of these sessions, of which the last waits, as it comes over the socket. */
async function overview(...keys: string[]): Promise<HostOverview> {
  const { pool, driver, clock } = await fakes({
    limits: { turns: keys.length - 1 },
    admission: { mode: 'wait', timeout: '1h' },
  })
  driver.onStart = (process) => (process.answersAtOnce = false)
  for (const key of keys) {
    const session = await pool.session(key, { agent: 'assistant' })
    session.send('go').result.catch(() => undefined)
    await clock.advance(1_000)
  }
  const { value } = await operate(pool, { do: 'overview' }, nothing()).next()
  return JSON.parse(JSON.stringify(value)) as HostOverview
}

const row = (id: string, facts: Partial<Row>): Row => ({
  id,
  tenant: 'default',
  session: id,
  agent: 'a',
  state: 'busy',
  phase: undefined,
  memoryBytes: undefined,
  since: 0,
  processes: 1,
  turns: 1,
  worker: id,
  ...facts,
})

test('It shows workers with the phases of their turns, and turns that wait, and fits any terminal', async () => {
  const host = await overview('one', 'two', `a ${'very '.repeat(40)}long name`)
  const rows = rowsOf(host, 'phase')
  // The name of a tool comes from an MCP server.
  for (const each of rows) if (each.phase !== undefined) each.phase.detail = '\u001B[2Jx\ny'
  expect(rows.map(({ state }) => state)).toEqual(['busy', 'busy', 'waits'])
  for (const columns of [20, 40, 72, 80, 120, 200])
    for (const lines of [6, 9, 24, 50]) {
      const view: View = { dataDir: '/data', sort: 'phase', selected: rows[2]?.id, says: undefined, columns, lines }
      const frame = frameOf(host, rows, view, plain)
      expect(frame.length).toBeLessThanOrEqual(lines)
      for (const line of frame) expect(line.length).toBeLessThanOrEqual(columns)
      // No text of others moves the cursor.
      expect(frame.join('')).not.toContain('\u001B')
    }
  const view: View = { dataDir: '/data', sort: 'phase', selected: undefined, says: undefined, columns: 120, lines: 24 }
  const text = frameOf(host, rows, view, plain).join('\n')
  expect(text).toMatch(/waiting: Turns wait: 1 in the queue/)
  expect(text).toMatch(/turns 2 of 2, waiting 1 \(turns 1\)/)
  expect(text).toMatch(/^one +assistant +busy +prompt /m)
})

test('Rows are sorted by memory, by age and by how long a phase takes, and each row stays marked', () => {
  const worker = (id: string, memoryBytes: number, startedAt: number): HostOverview['workers'][number] =>
    ({
      id,
      tenant: 'default',
      session: id,
      agent: 'a',
      state: 'busy',
      memoryBytes,
      startedAt,
      processes: 1,
      turns: 1,
    }) as never
  const turn = (id: string, since: number): HostOverview['turns'][number] =>
    ({ id: `t ${id}`, worker: id, phase: { name: 'model', since } }) as never
  const host = {
    workers: [worker('w-1', 10, 300), worker('w-2', 30, 200), worker('w-3', 20, 100)],
    turns: [turn('w-1', 5), turn('w-3', 9)],
  }
  const ids = (by: 'memory' | 'age' | 'phase'): string[] => rowsOf(host, by).map(({ id }) => id)
  expect(ids('memory')).toEqual(['w-2', 'w-3', 'w-1'])
  expect(ids('age')).toEqual(['w-3', 'w-2', 'w-1'])
  expect(ids('phase')).toEqual(['w-1', 'w-3', 'w-2'])
})

test('The marked row stays on the screen, however far down it is', async () => {
  const host = await overview('one', 'two')
  const rows = Array.from({ length: 500 }, (_, index) => row(`w-${index}`, {}))
  const view: View = { dataDir: '/', sort: 'age', selected: 'w-333', says: undefined, columns: 80, lines: 20 }
  expect(frameOf(host, rows, view, plain).some((line) => line.startsWith('w-333 '))).toBe(true)
})

test('Keys act on the marked row, and on nothing if there is none', () => {
  const busy = row('w-1', { session: 'one', tenant: 'acme' })
  expect(wishOf('i', busy)).toMatchObject({ kind: 'act', operation: { do: 'interrupt', tenant: 'acme', key: 'one' } })
  expect(wishOf('h', busy)).toMatchObject({ kind: 'act', operation: { do: 'hibernate', tenant: 'acme', key: 'one' } })
  expect(wishOf('c', busy)).toMatchObject({
    says: 'close worker w-1 after its turn?',
    operation: { id: 'w-1', now: false },
  })
  expect(wishOf('C', busy)).toMatchObject({ kind: 'act', operation: { do: 'closeWorker', id: 'w-1', now: true } })
  for (const key of ['i', 'h', 'c', 'C']) expect(wishOf(key, undefined)).toMatchObject({ kind: 'no' })
  expect(wishOf('c', row('t', { worker: undefined }))).toMatchObject({ kind: 'no' })
  expect(wishOf('i', row('w-2', { session: undefined }))).toMatchObject({ kind: 'no' })
  for (const key of ['q', '\u0003']) expect(wishOf(key, busy)).toEqual({ kind: 'quit' })
  expect(wishOf('x', busy)).toBeUndefined()
})

test('Keys that are pressed quickly are told apart', () => {
  expect(keysIn('\u001B[Bi\u001B[5~yq')).toEqual(['\u001B[B', 'i', '\u001B[5~', 'y', 'q'])
})
