import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { apiStoreConformance } from '../../../conformance/api-store.ts'
import { temporaryFolder } from '../../../fixtures/temporary-folder.ts'

function opened(path: string): SqliteApiStore {
  const store = new SqliteApiStore(path)
  onTestFinished(() => store.close())
  return store
}

describe('In memory', () => {
  apiStoreConformance(async () => opened(':memory:'))
})

describe('In a file', () => {
  apiStoreConformance(async () => opened(join(await temporaryFolder(), 'api.sqlite')))
})

test('Answers in a file outlive their host', async () => {
  const path = join(await temporaryFolder(), 'api.sqlite')
  const request = { tenant: 't', method: 'POST', path: '/v1/agents', key: 'k', bodyHash: 'hash', at: 1 }
  const first = opened(path)
  await first.answers.begin(request, { since: 0, max: 10 })
  await first.answers.finish(request, { status: 200, contentType: 'text/plain', body: 'done' }, undefined)
  first.close()
  const second = opened(path)
  expect((await second.answers.begin(request, { since: 0, max: 10 }))?.answer?.body).toBe('done')
})

test('A store that was closed rejects with a StoreError, and may be closed again', async () => {
  const store = opened(':memory:')
  store.close()
  store.close()
  await expect(store.resources.count('agent', 't')).rejects.toMatchObject({ code: 'store_failed' })
})
