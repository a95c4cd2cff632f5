import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { apiOf } from '../../../../src/cli/sessions/api-file.ts'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { temporaryFolder } from '../../../fixtures/temporary-folder.ts'

const NONE = { apiStore: undefined }
const EXPORT = { do: 'export', tenant: 't', key: 'k' } as never
const IMPORT = { do: 'import', options: {} } as never
const ROW = {
  kind: 'session',
  tenant: 't',
  id: 'k',
  version: 1,
  createdAt: 1,
  archivedAt: null,
  parent: null,
  body: '{}',
} as const

test('what /v1 keeps of a session is read from its file, which an export does not make', async () => {
  const dataDir = await temporaryFolder()
  const path = join(dataDir, 'api.sqlite')
  using before = apiOf(NONE, dataDir, EXPORT)
  expect([await before?.resources.get('session', 't', 'k'), existsSync(path)]).toEqual([undefined, false])
  using coming = apiOf(NONE, dataDir, IMPORT)
  expect(existsSync(path)).toBe(false)
  await coming?.resources.create(ROW)
  using after = apiOf(NONE, dataDir, EXPORT)
  expect(await after?.resources.get('session', 't', 'k')).toEqual(ROW)
})

test('it is in the store of the pool if that has a place for it', async () => {
  const dataDir = await temporaryFolder()
  const apiStore = new SqliteApiStore(':memory:')
  using given = apiOf({ apiStore }, dataDir, IMPORT)
  await given?.resources.create(ROW)
  expect(await apiStore.resources.get('session', 't', 'k')).toEqual(ROW)
  expect(existsSync(join(dataDir, 'api.sqlite'))).toBe(false)
  apiStore.close()
})

test('other operations leave it alone', async () => {
  expect(apiOf(NONE, await temporaryFolder(), { do: 'host' })).toBeUndefined()
})
