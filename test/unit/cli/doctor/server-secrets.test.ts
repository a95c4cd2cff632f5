import { expect, test } from 'vitest'
import { checkServerSecrets, secretPlacesOf } from '../../../../src/cli/doctor/server-secrets.ts'

const http = { type: 'http' as const, url: 'https://a.example/mcp', headers: { authorization: 'Bearer s' } }

test('doctor names the secrets of servers that agents can read, and why', () => {
  const places = secretPlacesOf(
    {
      agents: {
        a: {
          remotes: { app: { url: 'https://b.example/app.git', bearer: 's' } },
          mcpServers: {
            held: http,
            filled: { ...http, headers: { authorization: 'Bearer ${TOKEN}' } },
            local: { command: 'node', env: { SHOP_TOKEN: 's' } },
            plain: { type: 'http', url: 'https://a.example/mcp' },
          },
          agents: { helper: { description: 'd', prompt: 'p', mcpServers: [{ own: http }, 'held'] } },
        },
        b: { mcpServers: () => ({}) },
      },
    },
    'proxy',
  )
  expect(places).toEqual({
    held: ['agents.a.remotes.app', 'agents.a.mcpServers.held'],
    shown: [
      { of: 'agents.a.mcpServers.filled', because: expect.stringContaining('environment') as string },
      { of: 'agents.a.mcpServers.local', because: expect.stringContaining('stdio') as string },
      { of: 'agents.a.agents.helper.mcpServers.own', because: expect.any(String) as string },
    ],
  })
  expect(checkServerSecrets(places)).toMatchObject({
    verdict: 'warning',
    says: expect.stringContaining('filled') as string,
  })
  expect(checkServerSecrets({ ...places, shown: [] })).toMatchObject({ verdict: 'ok' })
  expect(checkServerSecrets({ held: [], shown: [] })).toBeUndefined()
})

test('doctor says that the environment mode leaves headers with agents', () => {
  const { held, shown } = secretPlacesOf({ agents: { a: { mcpServers: { shop: http } } } }, 'environment')
  expect([held, shown]).toEqual([[], [{ of: 'agents.a.mcpServers.shop', because: expect.any(String) as string }]])
})
