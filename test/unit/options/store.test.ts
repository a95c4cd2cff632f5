import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { hasPassword, isStore, readPostgres } from '../../../src/options/store.ts'
import { MemoryStore } from '../../../src/store/memory.ts'

const read = (postgres: string, rest: object = {}): ReturnType<typeof readPostgres> =>
  readPostgres({ postgres, ...rest })

test('A URL says where the database is, and is shown without its password', () => {
  expect(read('postgres://us%40er:p%2Fw@db.example:5433/agents?application_name=a&schema=other')).toMatchObject({
    shown: 'postgres://us@er@db.example:5433/agents',
    host: 'db.example',
    port: 5433,
    user: 'us@er',
    password: 'p/w',
    database: 'agents',
    schema: 'other',
    applicationName: 'a',
    tls: { mode: undefined },
    isPooled: false,
  })
})

test('What a URL leaves out is left to the variables of libpq', () => {
  const { host, port, user, database, password, schema } = read('postgresql://')
  expect([host, port, user, database, password]).toEqual(Array.from({ length: 5 }, () => undefined))
  expect(schema).toBe('claude_agent_pool')
})

test('A socket, an address of IPv6 and a pooler are given as libpq takes them', () => {
  expect(read('postgres:///db?host=/run/postgresql').host).toBe('/run/postgresql')
  expect(read('postgres://%2Frun%2Fpostgresql/db').host).toBe('/run/postgresql')
  expect(read('postgres://[::1]/db').host).toBe('::1')
  expect(read('postgres://h/db?pgbouncer=true').isPooled).toBe(true)
})

test.each([
  ['disable', 'disable'],
  ['require', 'require'],
  ['verify-ca', 'verify-ca'],
  ['verify-full', 'verify-full'],
])('sslmode=%s is honoured', (given, mode) => {
  expect(read(`postgres://h/db?sslmode=${given}&sslrootcert=/ca.pem`).tls).toMatchObject({ mode, rootCert: '/ca.pem' })
})

test('A root certificate alone means that it is checked', () => {
  expect(read('postgres://h/db?sslrootcert=/ca.pem').tls.mode).toBe('verify-full')
})

test.each([
  ['', 'store.postgres: is not a URL'],
  ['mysql://h/db', 'store.postgres: is not a URL'],
  ['postgres://h:secret@/x/%zz', 'store.postgres: '],
  ['postgres://h/db?sslmode=prefer', 'may send all in clear text'],
  ['postgres://h/db?sslmode=on', '"on" is not one of'],
  ['postgres://h/db?sslmod=require', 'has the parameter sslmod; known are'],
  ['postgres://h/db?schema=a"b', 'is not a plain name'],
  ['postgres:///db?host=a,b', 'names several hosts'],
  ['postgres://h/db?port=x', 'a port that is not one'],
])('"%s" is refused', (url, message) => {
  expect(() => read(url)).toThrow(message)
  expect(() => read(url)).toThrow(ConfigError)
})

test('No error about a URL shows its password', () => {
  for (const url of ['postgres//u:hunter2@h', 'postgres://u:hunter2@h/db?x=1', 'postgres://u:hunter2@h:99999/db']) {
    try {
      read(url)
    } catch (error) {
      expect(inspect(error, { depth: 9 })).not.toContain('hunter2')
      continue
    }
    throw new Error('it was not refused')
  }
})

test('A password comes from the URL or from a file, not from both', () => {
  expect(read('postgres://u@h/db', { passwordFile: '/run/secrets/p' }).passwordFile).toBe('/run/secrets/p')
  expect(() => read('postgres://u:p@h/db', { passwordFile: '/p' })).toThrow('both give a password')
})

test('A store of the caller’s own is told from the address of one', () => {
  expect(isStore(new MemoryStore())).toBe(true)
  expect(isStore({ postgres: 'postgres://h/db' })).toBe(false)
  expect(isStore(null)).toBe(false)
})

test('A password in a URL is found in both of its places', () => {
  expect(['postgres://u:p@h/d', 'postgres://u@h/d?password=p', 'postgres://u@h/d', 'nothing'].map(hasPassword)).toEqual(
    [true, true, false, false],
  )
})
