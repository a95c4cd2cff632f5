import { expect, test } from 'vitest'
import { proxyVariables } from '../../../src/isolation/bridge.ts'

test.each([
  [[['shop.example:443']], 'localhost,127.0.0.1,::1'],
  [[['shop.example:443', 'localhost:80']], '127.0.0.1,::1'],
  [[['shop.example:443'], ['127.0.0.1:80', '[::1]:80']], 'localhost'],
  [[['localhost.example:443']], 'localhost,127.0.0.1,::1'],
])('With %j programs go through the bridge to all hosts but the sandbox’s own: %s', (lists, direct) => {
  const variables = proxyVariables(lists)
  expect([variables['NO_PROXY'], variables['no_proxy']]).toEqual([direct, direct])
  expect(new Set([variables['HTTP_PROXY'], variables['https_proxy'], variables['ALL_PROXY']]).size).toBe(1)
  expect(variables).toMatchObject({
    NODE_USE_ENV_PROXY: '1',
    HTTPS_PROXY: expect.stringContaining('http://127.0.0.1:'),
  })
})
