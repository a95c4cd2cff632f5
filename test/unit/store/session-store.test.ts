import { describe } from 'vitest'
import { MemoryStore } from '../../../src/store/memory.ts'
import { SqliteStore } from '../../../src/store/sqlite.ts'
import { sessionStoreConformance } from '../../conformance/session-store.ts'

describe('in memory', () => {
  sessionStoreConformance(async () => new MemoryStore())
})

describe('in SQLite', () => {
  sessionStoreConformance(async () => new SqliteStore(':memory:'))
})
