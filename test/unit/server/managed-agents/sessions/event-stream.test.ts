import { expect, test } from 'vitest'
import { NO_SPARES } from '../../../../fixtures/fakes.ts'
import { Frames, served } from '../../../../fixtures/server.ts'

const PIECE_BYTES = 16 * 1024

test('What is there already comes in few pieces, in order, and none is much larger than 16 KiB', async () => {
  const { pool, ask } = await served({}, { agents: { assistant: NO_SPARES } })
  const body = { agent: 'agent_assistant', environment_id: 'env_local' }
  const { id } = (await (await ask('POST', '/v1/sessions', { body })).json()) as { id: string }
  const session = await pool.session(id)
  const sizes = [...Array.from({ length: 300 }, () => 100), 40_000, 40_000, 100]
  const added = await session.append(
    sizes.map((size) => ({ type: 'system.message', content: [{ type: 'text', text: 'x'.repeat(size) }] })),
  )
  const before = { 'last-event-id': String((added[0]?.number ?? 0) - 1) }
  const { body: stream } = await ask('GET', `/v1/sessions/${id}/events/stream`, { headers: before })
  const reader = (stream as ReadableStream<Uint8Array>).getReader()
  const pieces: Uint8Array[] = []
  const numbers = (): number[] =>
    [
      ...Buffer.concat(pieces)
        .toString()
        .matchAll(/^id: (\d+)$/gm),
    ].map(([, number]) => Number(number))
  while (numbers().length < sizes.length) pieces.push((await reader.read()).value as Uint8Array)
  await reader.cancel()
  expect(numbers()).toEqual(added.map(({ number }) => number))
  expect(pieces.length).toBeLessThan(sizes.length / 10)
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(PIECE_BYTES + 41_000)
})

test('A frame is named after its event, but for one whose name the Python client would pass over', async () => {
  const { pool, ask } = await served({}, { agents: { assistant: NO_SPARES } })
  const body = { agent: 'agent_assistant', environment_id: 'env_local' }
  const { id } = (await (await ask('POST', '/v1/sessions', { body })).json()) as { id: string }
  const frames = new Frames(await ask('GET', `/v1/sessions/${id}/events/stream`))
  const session = await pool.session(id)
  await session.append([
    { type: 'session.usage', usage: {} },
    { type: 'session.updated', title: 'x' },
  ])
  await session.delete()
  const all = await frames.rest()
  expect(all.map(({ event, data }) => [event, (data as { type: string }).type])).toEqual([
    ['message', 'session.usage'],
    ['session.updated', 'session.updated'],
    ['session.deleted', 'session.deleted'],
  ])
})
