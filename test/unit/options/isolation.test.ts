import { expect, test } from 'vitest'
import { readAgentIsolation, readIsolation } from '../../../src/options/isolation.ts'
import type { AgentIsolationOptions, IsolationOptions } from '../../../src/options/isolation.ts'
import { problemOf } from '../../fixtures/config-problem.ts'

test('without options there is no boundary, an open network, and the proxy holds the credential', () => {
  expect(readIsolation(undefined)).toEqual({
    mode: 'none',
    uids: { first: 50_000, count: 10_000 },
    egress: 'open',
    tenants: {},
    paths: { read: [], write: [] },
    credentials: 'proxy',
    limits: { memory: undefined, pids: undefined, cpu: undefined },
  })
})

test('what a worker may use is read with its units, for the pool and for an agent', () => {
  const limits = { memory: 2 ** 30, pids: 200, cpu: 50 }
  expect(readIsolation({ memory: '1GiB', pids: 200, cpu: 50 })).toMatchObject({ limits })
  expect(readAgentIsolation('a', { memoryBytes: 2 ** 30, pids: 200, cpu: 50 })).toMatchObject({ limits })
  expect(readIsolation({ memory: 'none' }).limits.memory).toBeUndefined()
})

test('"auto" is settled when it is tried, and may have a list', () => {
  expect(readIsolation({ mode: 'auto', egress: 'none' })).toMatchObject({ mode: 'auto', egress: [] })
})

test.each([
  [{ mode: 'landlock' }, /isolation\.mode: is none of "none", "bubblewrap", "user" and "auto"/],
  [{ egress: 'none' }, /isolation\.egress: needs a boundary/],
  [
    { mode: 'bubblewrap', egress: 'none', credentials: 'environment' },
    /isolation\.egress: leaves only the credential proxy/,
  ],
  [{ mode: 'bubblewrap', paths: { read: ['srv'] } }, /isolation\.paths\.read\.0: is not an absolute path/],
  [{ mod: 'bubblewrap' }, /isolation\.mod/],
  [{ mode: 'bubblewrap', egress: 'closed' }, /isolation\.egress: is neither "open", "none" nor \{ allow/],
  [
    { mode: 'bubblewrap', egress: { allow: ['a.example'] } },
    /isolation\.egress\.allow\.0: is not of the form host:port/,
  ],
  [{ mode: 'bubblewrap', egress: { allow: ['https://a.example:443'] } }, /allow\.0: is not of the form/],
  [{ mode: 'bubblewrap', egress: { allow: ['a.example:70000'] } }, /allow\.0: is not of the form/],
  [{ memory: '64MiB' }, /isolation\.memory: 64 MiB is less than a claude process needs/],
  [{ memory: 1_000 }, /isolation\.memory: must be text with a unit/],
  [{ memory: '1GiB', memoryBytes: 1 }, /isolation\.memory: is given twice/],
  [{ pids: 10 }, /isolation\.pids: 10 is not a whole number of at least 64/],
  [{ cpu: 0 }, /isolation\.cpu: 0 is not a whole number of at least 1/],
  [{ cpu: 20_000 }, /isolation\.cpu: 20000 is more than 10000/],
  [{ memroy: '1GiB' }, /isolation\.memroy.*memory/],
  [{ tenants: { acme: { egress: 'none' } } }, /isolation\.tenants\.acme\.egress: needs a boundary/],
])('%j is refused', (options, problem) => {
  expect(problemOf(() => readIsolation(options as IsolationOptions))).toMatch(problem)
})

test('places are kept as they are compared', () => {
  const allow = ['API.Example:443', '*.CDN.example:0443', '[FD00:0::1]:80', '0x7f.1:8080', 'api.example:443']
  expect(readIsolation({ mode: 'bubblewrap', egress: { allow } }).egress).toEqual([
    'api.example:443',
    '*.cdn.example:443',
    '[fd00::1]:80',
    '127.0.0.1:8080',
  ])
})

test.each([
  [{ mode: 'none' }, /agents\.a\.isolation\.mode: must be "bubblewrap": an agent can only be isolated more strictly/],
  [{ paths: {} }, /agents\.a\.isolation\.paths/],
])('an agent with %j is refused', (options, problem) => {
  expect(problemOf(() => readAgentIsolation('agents.a.isolation', options as AgentIsolationOptions))).toMatch(problem)
})
