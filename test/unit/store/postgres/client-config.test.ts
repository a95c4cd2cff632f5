import { afterEach, describe, expect, test, vi } from 'vitest'
import { Client } from 'pg'
import { readPostgres } from '../../../../src/options/store.ts'
import { clientConfig } from '../../../../src/store/postgres/client-config.ts'

afterEach(() => vi.unstubAllEnvs())

const config = (parameters = ''): ReturnType<typeof clientConfig> =>
  clientConfig(readPostgres({ postgres: `postgres://user@db.example/agents${parameters}` }))

/** What `pg` makes of it. */
const tls = (parameters = ''): unknown => new Client(config(parameters)).ssl

describe('TLS', () => {
  test('is off by default', () => {
    expect(tls()).toBe(false)
  })

  test('is as PGSSLMODE says if the URL does not say it', () => {
    vi.stubEnv('PGSSLMODE', 'require')
    expect(tls()).not.toBe(false)
    expect(tls('?sslmode=disable')).toBe(false)
  })

  test.each([
    ['require', false],
    ['verify-ca', true],
    ['verify-full', true],
  ])('with sslmode=%s checks the certificate: %s', (mode, rejectUnauthorized) => {
    expect(config(`?sslmode=${mode}`).ssl).toMatchObject({ rejectUnauthorized })
  })

  test('checks the name of the server with verify-full alone', () => {
    expect(config('?sslmode=verify-ca').ssl).toHaveProperty('checkServerIdentity')
    expect(config('?sslmode=verify-full').ssl).not.toHaveProperty('checkServerIdentity')
  })
})
