import { expect, test } from 'vitest'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { readPage } from '../../../../src/server/managed-agents/pages.ts'
import { temporaryFolder } from '../../../fixtures/temporary-folder.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

interface List {
  data: { id: string }[]
  next_page: string | null
}

/** Megabytes take their time on a busy machine. */
const SLOW = { timeout: 60_000 }

/** All pages of a list: the ids on each. */
async function pagesOf({ ask }: ServedFakes, path: string): Promise<string[][]> {
  const pages: string[][] = []
  let page = ''
  for (;;) {
    const list = (await (await ask('GET', `${path}${page}`)).json()) as List
    pages.push(list.data.map(({ id }) => id))
    if (list.next_page === null) return pages
    page = `&page=${list.next_page}`
  }
}

test('a list of large agents comes in small pages, and misses none', SLOW, async () => {
  const all = await served()
  const tools = [
    { type: 'custom', name: 't', description: 'x', input_schema: { type: 'object', x: 'x'.repeat(225_000) } },
  ]
  const ids: string[] = []
  for (let number = 0; number < 7; number += 1) {
    const made = await all.ask('POST', '/v1/agents', { body: { name: 'a', model: 'm', tools } })
    ids.push(((await made.json()) as { id: string }).id)
  }
  const pages = await pagesOf(all, '/v1/agents?limit=100')
  expect(pages.flat().toSorted()).toEqual([...ids, 'agent_assistant'].toSorted())
  expect(pages.map((page) => page.length)).toEqual([5, 3])
})

test('an agent larger than 1 MiB is refused', async () => {
  const { ask } = await served()
  const tools = [
    { type: 'custom', name: 't', description: 'x', input_schema: { type: 'object', x: 'x'.repeat(2 ** 20) } },
  ]
  const response = await ask('POST', '/v1/agents', { body: { name: 'a', model: 'm', tools } })
  expect([response.status, await response.json()]).toMatchObject([413, { error: { type: 'request_too_large' } }])
})

test('large events come in small pages, from both ends and filtered, and none is missing', SLOW, async () => {
  const all = await served()
  const made = await all.ask('POST', '/v1/sessions', {
    body: { agent: 'agent_assistant', environment_id: 'env_local' },
  })
  const { id } = (await made.json()) as { id: string }
  const sizes = [625_000, 10, 625_000, 10, 500_000]
  const ids: string[] = []
  for (const size of sizes) {
    const events = [{ type: 'system.message', content: [{ type: 'text', text: 'x'.repeat(size) }] }]
    const sent = await all.ask('POST', `/v1/sessions/${id}/events`, { body: { events } })
    ids.push(((await sent.json()) as List).data[0]?.id ?? '')
  }
  const path = `/v1/sessions/${id}/events?limit=1000`
  expect(await pagesOf(all, path)).toEqual([ids.slice(0, 3), ids.slice(3)])
  expect(await pagesOf(all, `${path}&order=desc&types[]=system.message`)).toEqual([
    ids.slice(2).toReversed(),
    ids.slice(0, 2).toReversed(),
  ])
  expect(await pagesOf(all, `${path}&created_at[lt]=2000-01-01`)).toEqual([[]])
  expect((await pagesOf(all, `/v1/sessions/${id}/events?limit=2`)).flat()).toEqual(ids)
})

test('of rows that are kept no more are read than a page shows', async () => {
  const store = new SqliteApiStore(`${await temporaryFolder()}/api.sqlite`)
  for (let number = 0; number < 30; number += 1)
    await store.resources.create({
      kind: 'agent',
      tenant: 't',
      id: `a${number}`,
      version: 1,
      createdAt: number,
      archivedAt: null,
      parent: null,
      body: 'x'.repeat(2 ** 18),
    })
  let read = 0
  const page = await readPage({
    order: 'asc',
    cursor: undefined,
    limit: 100,
    matches: () => true,
    async read(order, after, bounds) {
      const found = await store.resources.list({ kind: 'agent', tenant: 't', order, after, ...bounds })
      read += found.rows.length
      return found
    },
  })
  expect([page.items.length, read]).toEqual([4, 5])
  store.close()
})
