import { MemoryStore } from '../../../src/store/memory.ts'
import { storeConformance } from '../../conformance/store.ts'

storeConformance(async () => new MemoryStore())
