import { expect, test } from 'vitest'
import { checkMigrated } from '../../../../src/store/postgres/schema.ts'
import type { Connections } from '../../../../src/store/postgres/connections.ts'

/** A server that says this of itself. */
const serverOf = (version: number, encoding = 'UTF8'): Connections =>
  ({
    place: 'db.example',
    persist: (attempt: () => Promise<unknown>) => attempt(),
    once: () => Promise.resolve([{ version, encoding }]),
  }) as unknown as Connections

test('A server that is too old, or in another encoding, is refused with what it is', async () => {
  await expect(checkMigrated(serverOf(130_012))).rejects.toThrow('db.example is PostgreSQL 13; 14 or later is needed')
  await expect(checkMigrated(serverOf(140_000, 'LATIN1'))).rejects.toThrow('has the encoding LATIN1')
})
