import { describe, expect, test } from 'vitest'
import { Confinements } from '../../../src/isolation/confinement.ts'
import { readAgentIsolation, readIsolation } from '../../../src/options/isolation.ts'
import type { AgentIsolationOptions, IsolationOptions } from '../../../src/options/isolation.ts'

const confinements = (options: IsolationOptions): Confinements => new Confinements(readIsolation(options))

const agent = (isolation?: AgentIsolationOptions): Parameters<Confinements['check']>[1] => ({
  name: 'a',
  isolation: readAgentIsolation('agents.a.isolation', isolation),
})

describe('A process may reach', () => {
  const rules = confinements({
    mode: 'bubblewrap',
    egress: { allow: ['a.example:443', 'b.example:443'] },
    tenants: { acme: { egress: { allow: ['a.example:443'] } }, closed: { egress: 'none' } },
  })
  const reaches = (tenant: string, url: string): boolean => rules.reaches(tenant, new URL(url))

  test('what the pool allows', () => {
    expect(reaches('beta', 'https://b.example/')).toBe(true)
    expect(reaches('beta', 'https://c.example/')).toBe(false)
    expect(rules.listsOf(agent(), 'beta')).toEqual([['a.example:443', 'b.example:443']])
  })

  test('for a tenant only what its own list has, too', () => {
    expect(reaches('acme', 'https://a.example/')).toBe(true)
    expect(reaches('acme', 'https://b.example/')).toBe(false)
    expect(reaches('closed', 'https://a.example/')).toBe(false)
  })

  test('of an agent only what its list has, too: it cannot add to that of the pool', () => {
    const lists = rules.listsOf(agent({ egress: { allow: ['c.example:443'] } }), 'acme')
    expect(lists).toEqual([['a.example:443', 'b.example:443'], ['a.example:443'], ['c.example:443']])
    expect(rules.listsOf(agent({ egress: 'open' }), 'beta')).toHaveLength(1)
  })

  test('everything without a list, for a tenant named like a property of objects, too', () => {
    expect(confinements({ mode: 'bubblewrap' }).listsOf(agent(), 'constructor')).toEqual([])
  })
})

describe('The boundary that is needed', () => {
  test.each([
    [{}, agent(), undefined],
    [{}, agent({ mode: 'bubblewrap' }), 'open'],
    [{}, agent({ mode: 'bubblewrap', egress: 'none' }), 'closed'],
    [{ mode: 'bubblewrap' }, agent(), 'open'],
    [{ mode: 'bubblewrap', egress: 'none' }, agent(), 'closed'],
    [{ mode: 'bubblewrap', tenants: { t: { egress: 'none' } } }, agent(), 'closed'],
    [{ mode: 'bubblewrap' }, agent({ egress: { allow: ['a.example:1'] } }), 'bridged'],
  ] as const)('of a pool with %j and an agent with %j: %s', (options, one, needed) => {
    expect(confinements(options).needs([one])).toBe(needed)
  })

  test('has a bridge for an agent with remotes whose network is closed', () => {
    const needs = (options: IsolationOptions) => confinements(options).needs([{ ...agent(), hasRemotes: true }])
    expect(needs({ mode: 'bubblewrap', egress: 'none' })).toBe('bridged')
    expect(needs({ mode: 'bubblewrap' })).toBe('open')
    expect(needs({})).toBe(undefined)
  })

  test('of "auto" may be users of their own only if nothing limits the network, and no agent asks for a sandbox', () => {
    const rules = (options: object): Confinements => confinements({ mode: 'auto', ...options })
    expect(rules({}).modes([agent()])).toEqual(['bubblewrap', 'user'])
    expect(rules({ egress: 'none' }).modes([agent()])).toEqual(['bubblewrap'])
    expect(rules({}).modes([agent({ egress: 'none' })])).toEqual(['bubblewrap'])
    expect(rules({}).modes([agent({ mode: 'bubblewrap' })])).toEqual(['bubblewrap'])
    expect(confinements({ mode: 'user' }).modes([agent()])).toEqual(['user'])
  })

  test('of users of their own has no sandbox beside it', () => {
    const users = confinements({ mode: 'user' })
    expect(users.isSandboxed(agent())).toBe(false)
    expect(() => users.check('agents.a.isolation', agent({ mode: 'bubblewrap' }))).toThrow('not possible in a pool')
    const auto = confinements({ mode: 'auto' })
    expect(auto.isSandboxed(agent())).toBe(true)
    auto.boundary = { network: 'open', mode: 'user' }
    expect(auto.isSandboxed(agent())).toBe(false)
    expect(() => auto.checkLater('agents.a.isolation', agent({ mode: 'bubblewrap' }))).toThrow('not possible in a pool')
  })

  test('must be there for an agent that comes later', () => {
    const path = 'agents.a.isolation'
    const none = confinements({})
    expect(() => none.checkLater(path, agent({ mode: 'bubblewrap' }))).toThrow('created without')
    none.boundary = { network: 'closed', mode: 'bubblewrap' }
    none.checkLater(path, agent({ mode: 'bubblewrap', egress: 'none' }))
    const listed = agent({ mode: 'bubblewrap', egress: { allow: ['a.example:1'] } })
    expect(() => none.checkLater(path, listed)).toThrow('created without')
    none.checkLater(path, agent())
  })
})

test.each([
  [{}, { egress: 'none' }, 'agents.a.isolation.egress: needs a boundary'],
  [
    { mode: 'bubblewrap', credentials: 'environment' },
    { egress: 'none' },
    'agents.a.isolation.egress: leaves only the credential proxy',
  ],
] as const)('a pool with %j refuses an agent with %j', (options, own, problem) => {
  expect(() => confinements(options).check('agents.a.isolation', agent(own))).toThrow(problem)
})

describe('What a worker may use', () => {
  const rules = confinements({ memory: '2GiB', pids: 500 })

  test('is the stricter of what the pool and its agent say, for each kind', () => {
    expect(rules.limitsOf(agent({ pids: 100, cpu: 50 }))).toEqual({ memory: 2 ** 31, pids: 100, cpu: 50 })
    expect(rules.limitsOf(agent())).toEqual({ memory: 2 ** 31, pids: 500, cpu: undefined })
    expect(confinements({}).limitsOf(agent({ mode: 'bubblewrap' }))).toBeUndefined()
    expect(rules.limited([agent({ cpu: 50 })])).toEqual(['memory', 'pids', 'cpu'])
  })

  test('cannot be more for an agent than for its pool', () => {
    const path = 'agents.a.isolation'
    expect(() => rules.check(path, agent({ pids: 501 }))).toThrow(
      'agents.a.isolation.pids: 501 is more than the 500 of isolation.pids',
    )
    expect(() => rules.check(path, agent({ pids: 500, cpu: 10_000 }))).not.toThrow()
  })

  test('needs cgroups that were there when the pool was created, also for an agent that comes later', () => {
    const path = 'agents.a.isolation'
    expect(() => rules.checkLater(path, agent())).toThrow('agents.a.isolation.memory: needs a cgroup')
    rules.controllers = ['memory', 'pids']
    expect(() => rules.checkLater(path, agent())).not.toThrow()
    expect(() => rules.checkLater(path, agent({ cpu: 50 }))).toThrow('agents.a.isolation.cpu: needs a cgroup')
  })
})

test('An agent that comes later can have a list of places unless something keeps the pool from holding it', () => {
  const problem = (
    options: IsolationOptions,
    boundary?: { mode: 'bubblewrap' | 'user'; network: 'open' | 'closed' | 'bridged' },
  ): string | undefined => {
    const rules = confinements(options)
    rules.boundary = boundary
    return rules.egressProblem
  }
  const BUBBLEWRAP = { mode: 'bubblewrap' } as const
  expect(problem(BUBBLEWRAP, { mode: 'bubblewrap', network: 'bridged' })).toBeUndefined()
  expect(problem(BUBBLEWRAP, { mode: 'bubblewrap', network: 'closed' })).toContain('socat is not installed')
  expect(problem({ mode: 'user' }, { mode: 'user', network: 'open' })).toContain('leaves processes their network')
  expect(problem({ mode: 'none' })).toContain('run without a sandbox')
  const inEnvironment = { ...BUBBLEWRAP, credentials: 'environment' } as const
  expect(problem(inEnvironment, { mode: 'bubblewrap', network: 'bridged' })).toContain('is "environment"')
})
