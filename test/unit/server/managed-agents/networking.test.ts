import { describe, expect, test } from 'vitest'
import {
  checkServers,
  networkingOf,
  placesOf,
  refuseUnlimited,
} from '../../../../src/server/managed-agents/networking.ts'
import type { Limited, NetworkingParams } from '../../../../src/server/managed-agents/networking.ts'

const OPEN = { type: 'unrestricted' } as const
const SHOP = { type: 'url' as const, name: 'shop', url: 'https://shop.example/mcp' }
const LOCAL = { type: 'url' as const, name: 'local', url: 'http://box.example:8080/mcp' }

const limited = (more: Partial<Limited> = {}): Limited => ({
  type: 'limited',
  allowed_hosts: [],
  allow_mcp_servers: false,
  allow_package_managers: false,
  ...more,
})

describe('What a request says of the network', () => {
  test('is filled up with what reaches least', () => {
    expect(networkingOf({ type: 'limited' }, OPEN)).toEqual(limited())
    expect(networkingOf({ type: 'limited', allowed_hosts: ['API.example.com'] }, OPEN)).toEqual(
      limited({ allowed_hosts: ['api.example.com'] }),
    )
  })

  test('leaves what it does not name as it is', () => {
    const before = limited({ allowed_hosts: ['a.example'], allow_mcp_servers: true })
    expect(networkingOf(undefined, before)).toBe(before)
    expect(networkingOf({ type: 'limited', allow_package_managers: true }, before)).toEqual({
      ...before,
      allow_package_managers: true,
    })
    expect(networkingOf({ type: 'unrestricted' }, before)).toEqual(OPEN)
    expect(networkingOf({ type: 'limited', allowed_hosts: [] }, before)).toEqual({ ...before, allowed_hosts: [] })
  })
})

describe('The places of a limited network', () => {
  test('are its hosts at the ports of the web', () => {
    expect(placesOf(limited(), [SHOP])).toEqual([])
    expect(placesOf(limited({ allowed_hosts: ['a.example', '*.b.example'] }), [SHOP])).toEqual([
      'a.example:443',
      'a.example:80',
      '*.b.example:443',
      '*.b.example:80',
    ])
  })

  test('are those of MCP servers and package registries if it lets them through', () => {
    expect(placesOf(limited({ allow_mcp_servers: true }), [SHOP, LOCAL])).toEqual([
      'shop.example:443',
      'box.example:8080',
    ])
    const registries = placesOf(limited({ allow_package_managers: true }), [SHOP])
    expect(registries).toEqual(expect.arrayContaining(['pypi.org:443', 'registry.npmjs.org:443']))
    expect(registries).not.toContain('shop.example:443')
  })
})

describe('An MCP server that a limited network does not let through', () => {
  test.each([
    [limited(), false],
    [limited({ allow_mcp_servers: true }), true],
    [limited({ allowed_hosts: ['shop.example'] }), true],
    [limited({ allowed_hosts: ['*.example'] }), true],
    [limited({ allowed_hosts: ['op.example', 'notshop.example'] }), false],
    [undefined, true],
  ])('is refused by name, unless %j', (network, passes) => {
    const check = (): void => checkServers(network, [SHOP])
    if (passes) expect(check).not.toThrow()
    else expect(check).toThrow('the environment does not let "shop" through')
  })

  test('is refused at another port than that of the web, too', () => {
    expect(() => checkServers(limited({ allowed_hosts: ['box.example'] }), [LOCAL])).toThrow('"local"')
  })
})

describe('A limited network that a request asks for', () => {
  /** What the server says of it, which lets agents reach these hosts. */
  const check =
    (params: NetworkingParams | null | undefined, open: readonly string[] = [], problem?: string) =>
    (): void => {
      const allowsEgress = (tenant: string, { host }: URL): boolean => tenant === 'acme' && open.includes(host)
      refuseUnlimited({ egressProblem: problem, allowsEgress }, 'acme', params)
    }

  test('is refused by a server that cannot limit one, and no other network is', () => {
    expect(check({ type: 'limited' }, [], 'there is no sandbox')).toThrow('of agents: there is no sandbox; ask')
    for (const params of [OPEN, null, undefined]) expect(check(params, [], 'there is no sandbox')).not.toThrow()
  })

  test('has hosts alone that the operator lets through', () => {
    const asks = { type: 'limited' as const, allowed_hosts: ['a.example', '*.b.example'] }
    expect(check(asks, ['a.example', 'any.b.example'])).not.toThrow()
    expect(check(asks, ['a.example'])).toThrow('does not let agents reach *.b.example')
    expect(check(asks, ['any.b.example'])).toThrow('does not let agents reach a.example')
    expect(check({ type: 'limited' })).not.toThrow()
  })

  test('has package managers if one of their registries is let through', () => {
    const asks = { type: 'limited' as const, allow_package_managers: true }
    expect(check(asks, ['pypi.org'])).not.toThrow()
    expect(check(asks, ['other.example'])).toThrow('reach none of their registries')
    expect(check({ ...asks, allow_package_managers: false })).not.toThrow()
  })
})
