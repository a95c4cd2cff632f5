import { join } from 'node:path'
import { summarize } from '../../control/operations.ts'
import type { Operation } from '../../control/operations.ts'
import { SessionGoneError } from '../../errors.ts'
import { infoOf } from '../../sessions/session-info.ts'
import { STORE_FILE } from '../../store/data-dir.ts'
import { readStore } from '../../store/reading.ts'
import type { Store } from '../../store/store.ts'

/** Operations that look at the store alone. */
type Reading = Extract<Operation, { do: 'list' | 'show' | 'tenant' }>

export const isReading = (operation: Operation): operation is Reading =>
  operation.do === 'list' || operation.do === 'show' || operation.do === 'tenant'

/** Does a reading operation where no host runs. Nothing in the data directory changes: not its schema, and no pool is opened. */
export async function read(dataDir: string, operation: Reading): Promise<unknown> {
  await using opened = await readStore(join(dataDir, STORE_FILE))
  return await answer(opened.store, operation)
}

async function answer(store: Store, operation: Reading): Promise<unknown> {
  if (operation.do === 'list') {
    const records = await store.list({ limit: 100, ...operation.page })
    return records.map((record) => infoOf(record, 'hibernated'))
  }
  const { tenant } = operation
  if (operation.do === 'tenant')
    return { ...(await summarize(tenant, (page) => store.list(page))), resources: 0, running: [] }
  const record = await store.get(tenant, operation.key)
  if (record !== undefined) return infoOf(record, 'hibernated')
  throw new SessionGoneError('session_not_found', `there is no session "${operation.key}" of tenant "${tenant}"`)
}
