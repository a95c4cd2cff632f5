import { describe, expect, test } from 'vitest'
import { readCluster } from '../../../src/options/cluster.ts'

const SECRET = 'a-secret-of-24-characters'

describe('cluster', () => {
  test('listens on loopback, at any free port, unless it is given more', () => {
    expect(readCluster(undefined)).toBeUndefined()
    expect(readCluster({})).toMatchObject({ host: '127.0.0.1', port: 0, advertise: undefined, secret: undefined })
    expect(readCluster({ listen: '[fd00::5]:7070', secret: SECRET })).toMatchObject({ host: 'fd00::5', port: 7070 })
    const named = { listen: '0.0.0.0:7070', advertise: 'pool-0.pool:7070', secretFile: '/run/secret' }
    expect(readCluster(named)).toMatchObject({ host: '0.0.0.0', advertise: 'pool-0.pool:7070' })
  })

  test.each([
    [{ listen: '10.0.0.5' }, 'cluster.listen', /is not an address and a port/],
    [{ listen: '10.0.0.5:70700' }, 'cluster.listen', /is not an address and a port/],
    [{ listen: 7070 }, 'cluster.listen', /must be an address and a port/],
    [{ listen: '10.0.0.5:7070' }, 'cluster.secret', /is required: other machines can reach this host/],
    [{ advertise: 'pool-0:7070' }, 'cluster.secret', /is required/],
    [{ listen: '0.0.0.0:7070', secret: SECRET }, 'cluster.advertise', /is needed/],
    [{ advertise: 'pool-0:0', secret: SECRET }, 'cluster.advertise', /has port 0/],
    [{ secret: 'short' }, 'cluster.secret', /has less than 24 characters/],
    [{ secret: SECRET, secretFile: '/run/secret' }, 'cluster.secretFile', /are both given/],
    [{ adress: 'x' }, 'cluster.adress', /is not an option/],
  ])('refuses %o by name', (given, path, problem) => {
    expect(() => readCluster(given)).toThrow(expect.objectContaining({ name: 'ConfigError', path }))
    expect(() => readCluster(given)).toThrow(problem)
  })
})
