import { describe, expect, test } from 'vitest'
import { readApi } from '../../../src/options/api.ts'
import { loose, problemOf } from '../../fixtures/config-problem.ts'

describe('api', () => {
  test('takes one credential', () => {
    expect(readApi({ key: 'sk-test' })).toEqual({ key: 'sk-test' })
    expect(problemOf(() => readApi({ key: 'sk-test', oauthToken: 'token' }))).toBe(
      'api.oauthToken: is given beside api.key; keep one',
    )
  })

  test.each(['', ' ', 'sk-secret\n', 'sk secret', 'sk-sécret'])(
    'refuses the credential %j and does not repeat it',
    (key) => {
      const problem = problemOf(() => readApi({ key }))
      expect(problem).toContain('api.key: is empty or has characters that no credential has')
      expect(problem).not.toContain('secret')
    },
  )

  test.each(['', 'localhost:8080', 'ftp://example.com', '/v1'])('refuses the address %j', (baseUrl) => {
    expect(problemOf(() => readApi({ baseUrl }))).toBe('api.baseUrl: is not an http(s) URL')
  })

  test('refuses a provider that the CLI does not know', () => {
    expect(problemOf(() => readApi(loose({ provider: 'azure' })))).toContain('api.provider: ')
  })
})
