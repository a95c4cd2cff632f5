import { chmod, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { RefreshedApi } from '../../../src/credentials/refreshed-api.ts'
import { ConfigError } from '../../../src/errors.ts'
import { apiOf, readApi } from '../../../src/options/api.ts'
import type { ApiOptions } from '../../../src/options/api.ts'
import { FakeClock } from '../../../src/testing/index.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

let folder: string
let file: string

beforeEach(async () => {
  folder = await temporaryFolder()
  file = join(folder, 'key')
  await writeFile(file, 'sk-first\n')
})

async function opened(options: ApiOptions) {
  const clock = new FakeClock()
  const api = new RefreshedApi(clock, readApi(options))
  onTestFinished(() => api.close())
  await api.begin()
  const told: string[] = []
  api.attach({ renewed: () => void told.push('renewed'), trouble: (message) => void told.push(message) })
  return { clock, api, told }
}

describe('A credential that is read again and again', () => {
  test('is that of the file, and another one when the file has one', async () => {
    const { clock, api, told } = await opened({ baseUrl: 'http://gateway', refresh: { file, every: '10s' } })
    expect(api.current).toMatchObject({ baseUrl: 'http://gateway', key: 'sk-first' })
    expect(api.current).not.toHaveProperty('refresh')
    await writeFile(file, 'sk-second')
    await clock.advance(9_999)
    expect(api.current.key).toBe('sk-first')
    await clock.advance(1)
    await vi.waitFor(() => expect(told).toEqual(['renewed']))
    expect(api.current.key).toBe('sk-second')
  })

  test('is what a command prints, as the kind that is said', async () => {
    const command = [process.execPath, '-e', 'console.log("token-" + process.argv[1])', 'one']
    const { api } = await opened({ refresh: { command, as: 'authToken' } })
    expect(api.current).toMatchObject({ authToken: 'token-one' })
    expect(api.current.key).toBeUndefined()
  })

  test('stays as it was if it cannot be read, with a word on why and none on what was read', async () => {
    const { clock, api, told } = await opened({ refresh: { file, every: '10m' } })
    await writeFile(file, 'two secret\nlines')
    await clock.advance(600_000)
    await vi.waitFor(() => expect(told).toHaveLength(1))
    expect(told[0]).toMatch(/^api\.refresh: the file .*no credential.*is used on$/)
    expect(told[0]).not.toContain('secret')
    await rm(file)
    await clock.advance(30_000)
    await vi.waitFor(() => expect(told).toHaveLength(2))
    expect([told[1], api.current.key]).toEqual([expect.stringContaining('ENOENT'), 'sk-first'])
    await writeFile(file, 'sk-third')
    await clock.advance(30_000)
    await vi.waitFor(() => expect(told.at(-1)).toBe('renewed'))
    expect(api.current.key).toBe('sk-third')
  })

  test('of a tenant is its own; before it is read, the tenant has none of others', async () => {
    const { clock, api, told } = await opened({ key: 'sk-shared', tenants: { acme: { refresh: { file } } } })
    expect(apiOf(api.current, 'acme').key).toBe('sk-first')
    expect(apiOf(api.current, 'other').key).toBe('sk-shared')
    const other = join(folder, 'other')
    await writeFile(other, 'sk-other')
    api.update(
      readApi({ key: 'sk-shared', tenants: { acme: { refresh: { file } }, beta: { refresh: { file: other } } } }),
    )
    expect([apiOf(api.current, 'acme').key, apiOf(api.current, 'beta').key]).toEqual(['sk-first', 'not-read-yet'])
    await clock.advance(0)
    await vi.waitFor(() => expect(told).toEqual(['renewed']))
    expect(apiOf(api.current, 'beta').key).toBe('sk-other')
    api.update(readApi({ key: 'sk-shared' }))
    expect(apiOf(api.current, 'acme').key).toBe('sk-shared')
  })

  test('is read on when other options change', async () => {
    const { clock, api, told } = await opened({ refresh: { file, every: '10s' } })
    api.update(readApi({ baseUrl: 'http://other', refresh: { file, every: '10s' } }))
    for (const key of ['sk-second', 'sk-third']) {
      told.length = 0
      await writeFile(file, key)
      await clock.advance(10_000)
      await vi.waitFor(() => expect(told).toEqual(['renewed']))
      expect(api.current).toMatchObject({ baseUrl: 'http://other', key })
    }
  })

  test('ends its reads when it is closed', async () => {
    const { clock, api, told } = await opened({ refresh: { file, every: '1s' } })
    api.close()
    await writeFile(file, 'sk-late')
    await clock.advance(10_000)
    expect([told, api.current.key]).toEqual([[], 'sk-first'])
  })

  test('must be there at first: a command that fails is named, without its arguments', async () => {
    const script = join(folder, 'helper')
    await writeFile(script, '#!/bin/sh\necho sk-printed; echo "no access to $1" | tr a-z A-Z >&2; exit 3\n')
    await chmod(script, 0o700)
    const failed = opened({ refresh: { command: [script, 'secret-path'] } })
    await expect(failed).rejects.toThrow(ConfigError)
    await expect(failed).rejects.toThrow(/api\.refresh: the command .*helper failed \(3\): NO ACCESS TO/)
    await expect(failed).rejects.not.toThrow(/sk-printed|secret-path/)
    await expect(opened({ tenants: { a: { refresh: { file: join(folder, 'none') } } } })).rejects.toThrow(
      'api.tenants.a.refresh',
    )
  })

  test.each([
    [{ refresh: {} }, 'api.refresh: needs either a command or a file'],
    [{ refresh: { file: '/a', command: ['b'] } }, 'needs either a command or a file'],
    [{ refresh: { file: 'relative' } }, 'is not an absolute path'],
    [{ refresh: { file: '/a', every: '1ms' } }, 'api.refresh.every: is less than 1s'],
    [{ refresh: { file: '/a', every: 'often' } }, 'api.refresh.every'],
    [{ refresh: { file: '/a' }, key: 'k' }, 'api.refresh: is given beside api.key'],
    [{ refresh: { file: '/a' }, provider: 'bedrock' }, 'not for bedrock'],
  ] as const)('%j is refused: %s', (options, says) => {
    expect(() => readApi(options)).toThrow(says)
  })
})
