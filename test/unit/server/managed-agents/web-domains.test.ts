import { describe, expect, test } from 'vitest'
import { boundFetch, boundSearch } from '../../../../src/server/managed-agents/web-domains.ts'

const ALLOWED = { allowed_domains: ['example.com', 'Docs.Example.org'] }
const BLOCKED = { blocked_domains: ['example.com'] }

describe('A fetch', () => {
  test.each([
    ['https://example.com/a', ALLOWED, true],
    ['https://deep.docs.example.org', ALLOWED, true],
    ['https://EXAMPLE.com.', ALLOWED, true],
    ['https://notexample.com', ALLOWED, false],
    ['https://example.com.evil.net', ALLOWED, false],
    ['https://evil.net/?example.com', ALLOWED, false],
    ['https://example.com@evil.net', ALLOWED, false],
    ['http://127.0.0.1', ALLOWED, false],
    ['nonsense', ALLOWED, false],
    ['https://sub.example.com', BLOCKED, false],
    ['https://example.org', BLOCKED, true],
  ])('of %s with %j goes through: %s', (url, domains, passes) => {
    const input = { url, prompt: 'p' }
    expect(boundFetch(input, domains)).toEqual(
      passes ? { input } : { problem: expect.stringContaining('may not fetch') as string },
    )
  })
})

describe('A search', () => {
  test.each([
    [{}, ALLOWED, { allowed_domains: ['example.com', 'Docs.Example.org'] }],
    [{ allowed_domains: ['sub.example.com/path', 'evil.net'] }, ALLOWED, { allowed_domains: ['sub.example.com/path'] }],
    [{ blocked_domains: ['sub.example.com'] }, ALLOWED, { allowed_domains: ['example.com', 'Docs.Example.org'] }],
    [{ blocked_domains: ['a.net', 'example.com'] }, BLOCKED, { blocked_domains: ['example.com', 'a.net'] }],
    [{ allowed_domains: ['a.net', 'sub.example.com'] }, BLOCKED, { allowed_domains: ['a.net'] }],
    [{ allowed_domains: 'all' }, BLOCKED, { blocked_domains: ['example.com'] }],
  ])('for %j with %j is one with %j', (input, domains, bounded) => {
    expect(boundSearch({ query: 'q', ...input }, domains)).toEqual({ input: { query: 'q', ...bounded } })
  })

  test('in domains that the agent may not use is refused', () => {
    expect(boundSearch({ query: 'q', allowed_domains: ['evil.net'] }, ALLOWED)).toEqual({
      problem: 'this agent may not search in evil.net',
    })
  })
})
