import type { LookupAddress } from 'node:dns'
import { describe, expect, test } from 'vitest'
import {
  addressesOf,
  canonicalHost,
  internalTarget,
  isLoopback,
  lookupOf,
  publicTarget,
  targetOf,
} from '../../src/addresses.ts'

const nowhere = (): Promise<string[]> => Promise.reject(new Error('asked'))

describe('A URL', () => {
  test.each(['127.0.0.1', '10.1.2.3', '169.254.169.254', '[::1]', '[::ffff:10.0.0.1]', '[fd00::1]'])(
    'to %s leads to no public host',
    async (host) => {
      expect(await internalTarget(new URL(`http://${host}/`), nowhere)).toMatch(/is not a public address$/)
    },
  )

  test.each(['93.184.215.14', '[2606:2800:21f:cb07:6820:80da:af6b:8b2c]'])('to %s leads there', async (host) => {
    const address = host.replace(/^\[(.*)\]$/, '$1')
    expect(await targetOf(new URL(`http://${host}/`), nowhere)).toEqual({ addresses: [address] })
    expect(await addressesOf(new URL(`http://${host}/`))).toEqual([address])
    expect(await internalTarget(new URL(`http://${host}/`), nowhere)).toBeUndefined()
  })

  test('to a name of this machine is that of its hosts file', async () => {
    const addresses = await addressesOf(new URL('http://localhost/'))
    expect(addresses.length).toBeGreaterThan(0)
    for (const address of addresses) expect(['127.0.0.1', '::1']).toContain(address)
  })
})

describe('A name', () => {
  test.each(['localhost', 'db.internal', 'printer.local', 'router.home.arpa', 'intranet'])(
    'like %s is inside, and is not asked for',
    async (name) => {
      expect(await publicTarget(name, nowhere)).toEqual({ problem: `${name} is a name of this machine or its network` })
    },
  )

  test('leads where it resolves, unless one address of it is inside', async () => {
    const at = (...addresses: string[]): ReturnType<typeof publicTarget> =>
      publicTarget('shop.example', () => Promise.resolve(addresses))
    expect(await at('93.184.215.14')).toEqual({ addresses: ['93.184.215.14'] })
    expect(await at('93.184.215.14', '10.0.0.1')).toEqual({
      problem: 'shop.example resolves to 10.0.0.1, which is not a public address',
    })
    expect(await at('no address')).toEqual({ addresses: ['no address'] })
  })
})

test('Node’s look-up of a name is answered by what was resolved', () => {
  const answers: unknown[] = []
  const one = lookupOf(['93.184.215.14', '2606::1'])
  const hear = (_error: unknown, address: string | LookupAddress[], family?: number): void =>
    void answers.push(family === undefined ? address : [address, family])
  one('shop.example', {}, hear)
  one('shop.example', { all: true }, hear)
  lookupOf([])('shop.example', {}, hear)
  expect(answers).toEqual([
    ['93.184.215.14', 4],
    [
      { address: '93.184.215.14', family: 4 },
      { address: '2606::1', family: 6 },
    ],
    ['', 0],
  ])
})

test.each([
  ['0x7f.1', '127.0.0.1'],
  ['Shop.Example.', 'shop.example'],
  ['[::1]', '::1'],
  ['shop.example:80', 'shop.example'],
  ['shop.example:81', undefined],
  ['shop.example/path', undefined],
  ['user@shop.example', undefined],
  ['a b', undefined],
])('The host %s is %s', (host, expected) => {
  expect(canonicalHost(host)).toBe(expected)
})

test.each([
  ['127.0.0.1', true],
  ['127.0.0.1:80', true],
  ['localhost:80', true],
  ['::1', true],
  ['[::1]:80', true],
  ['0.0.0.0', false],
  ['2606::1', false],
  ['localhost.example', false],
])('%s means this machine alone: %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected)
})
