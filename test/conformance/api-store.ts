import { describe, expect, test } from 'vitest'
import type { ApiStore, RequestName } from '../../src/store/api-store.ts'
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
  test('all of a tenant goes, and nothing of another one', async () => {
    const store = await open()
    const { resources, answers, tokens } = store
    const left: unknown[] = []
    for (const tenant of ['acme', 'other']) {
      const resource = {
        tenant,
        id: `${tenant}_1`,
        version: 1,
        createdAt: 1,
        archivedAt: null,
        parent: null,
        body: '{}',
      }
      for (const kind of ['agent', 'environment', 'session', 'file'] as const)
        await resources.create({ ...resource, kind })
      await answers.begin({ ...nameOf(tenant), bodyHash: 'h', at: 10_000_000 }, { since: 0, max: 10 })
      const token = {
        id: `btok_${tenant}`,
        sha256: tenant.padEnd(64, '0'),
        tenant,
        name: 'n',
        agents: [],
        sessions: [],
      }
      await tokens.create({ ...token, expiresAt: 2 ** 45 }, { now: 0, max: 10 })
    }
    await store.eraseTenant('acme')
    for (const tenant of ['acme', 'other']) {
      for (const kind of ['agent', 'environment', 'session', 'file'] as const)
        left.push([tenant, kind, await resources.count(kind, tenant)])
      left.push([tenant, 'version', (await resources.version('agent', tenant, `${tenant}_1`, 1)) !== undefined])
      left.push([tenant, 'token', (await tokens.find(tenant.padEnd(64, '0'), 0)) !== undefined])
      const again = await answers.begin({ ...nameOf(tenant), bodyHash: 'h', at: 10_000_000 }, { since: 0, max: 10 })
      left.push([tenant, 'answer', again !== undefined])
    }
    const kinds = ['agent', 'environment', 'session', 'file']
    expect(left).toEqual([
      ...kinds.map((kind) => ['acme', kind, 0]),
      ...['version', 'token', 'answer'].map((kind) => ['acme', kind, false]),
      ...kinds.map((kind) => ['other', kind, 1]),
      ...['version', 'token', 'answer'].map((kind) => ['other', kind, true]),
    ])
  })
}

const nameOf = (tenant: string): RequestName => ({ tenant, method: 'POST', path: '/v1/agents', key: 'k' })
