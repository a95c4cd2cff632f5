import { describe, expect, onTestFinished, test } from 'vitest'
import { checkBudgets, placementOf, runsProxy } from '../../../src/credentials/placement.ts'
import { takesSocket } from '../../../src/credentials/tested.ts'
import { readBudgets } from '../../../src/options/budgets.ts'

const KEY = { ANTHROPIC_API_KEY: 'secret' }
const BEHIND_PROXY = { ...KEY, https_proxy: 'http://proxy.example:3128' }

/** Lets this be another runtime. */
function runIn(versions: Readonly<Record<string, string>>): void {
  const own = Object.getOwnPropertyDescriptor(process, 'versions') as PropertyDescriptor
  Object.defineProperty(process, 'versions', { ...own, value: versions })
  onTestFinished(() => void Object.defineProperty(process, 'versions', own))
}

test('The proxy holds a credential, and the environment has its token in place of that', () => {
  expect(placementOf(KEY, 'mine')).toMatchObject({ kind: 'taken', env: { ANTHROPIC_API_KEY: 'mine' } })
  expect(placementOf({})).toEqual({ kind: 'none' })
  expect(runsProxy()).toBe(true)
})

test.each(['bun', 'deno'])('The proxy does not run in %s', (name) => {
  runIn({ node: '24.9.0', [name]: '1.0.0' })
  expect(runsProxy()).toBe(false)
  expect(placementOf(KEY)).toEqual({
    kind: 'kept',
    because: `the credential proxy runs in Node alone, and this is ${name}`,
  })
  expect(placementOf({})).toEqual({ kind: 'none' })
})

describe('Behind an HTTP proxy', () => {
  test.each([
    ['22.20.9', false],
    ['22.21.0', true],
    ['23.11.0', false],
    ['24.4.1', false],
    ['24.5.0', true],
    ['25.0.0', true],
  ])('Node %s reaches the API: %s', (node, reaches) => {
    runIn({ node })
    expect(placementOf(BEHIND_PROXY).kind).toBe(reaches ? 'taken' : 'kept')
    expect(placementOf(KEY).kind).toBe('taken')
  })

  test('means that a variable for HTTP or HTTPS is set, in capitals or not', () => {
    runIn({ node: '24.4.1' })
    const kindFor = (more: Record<string, string>): string => placementOf({ ...KEY, ...more }).kind
    expect(kindFor({ HTTP_PROXY: 'http://p' })).toBe('kept')
    for (const other of [{ https_proxy: '' }, { NO_PROXY: 'a' }, { MY_HTTPS_PROXY: 'http://p' }])
      expect(kindFor(other)).toBe('taken')
  })
})

describe('Budgets', () => {
  const budgets = readBudgets({ tenant: { tokens: 1 } })

  test('need a proxy that holds the credential', () => {
    expect(() => checkBudgets(budgets, 'proxy', KEY)).not.toThrow()
    expect(() => checkBudgets(budgets, 'proxy', {})).not.toThrow()
    expect(() => checkBudgets(budgets, 'environment', KEY)).toThrow('set it to "proxy"')
    runIn({ node: '24.9.0', bun: '1.0.0' })
    expect(() => checkBudgets(budgets, 'proxy', KEY)).toThrow('cannot hold this credential: the credential proxy runs')
  })

  test('that there are none of need nothing', () => {
    expect(() => checkBudgets(readBudgets({}), 'environment', KEY)).not.toThrow()
  })
})

test.each([
  ['2.1.328', false],
  ['2.1.329', true],
  ['2.1.332', true],
  ['2.1.333', false],
  ['2.2.330', false],
  ['1.9.330', false],
  ['2.1', false],
  [undefined, false],
])('Version %s of the CLI is known to take a socket: %s', (version, expected) => {
  expect(takesSocket(version)).toBe(expected)
})
