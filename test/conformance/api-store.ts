import { describe } from 'vitest'
import type { ApiStore } from '../../src/store/api-store.ts'
import { answerStoreConformance } from './api-store-answers.ts'
import { resourceStoreConformance } from './api-store-resources.ts'
import { tokenStoreConformance } from './api-store-tokens.ts'

/** What every ApiStore must do. `open` gives an empty one each time. */
export function apiStoreConformance(open: () => Promise<ApiStore>): void {
  describe('resources', () => {
    resourceStoreConformance(async () => (await open()).resources)
  })
  describe('answers', () => {
    answerStoreConformance(async () => (await open()).answers)
  })
  describe('tokens', () => {
    tokenStoreConformance(async () => (await open()).tokens)
  })
}
