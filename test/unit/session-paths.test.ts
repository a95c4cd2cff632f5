import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/index.ts'
import { placeOf } from '../../src/session-paths.ts'

describe('The place of a path', () => {
  test.each([
    ['data/a.csv', 'data/a.csv', 'data/a.csv'],
    ['./data//a.csv', 'data/a.csv', 'data/a.csv'],
    ['/workspace/a.csv', 'a.csv', '/workspace/a.csv'],
    ['/mnt/session/uploads/a.csv', 'uploads/a.csv', '/mnt/session/uploads/a.csv'],
    ['/mnt/session/uploads/workspace/a.csv', 'a.csv', '/workspace/a.csv'],
    ['/mnt/session/outputs/a.csv', 'outputs/a.csv', '/mnt/session/outputs/a.csv'],
    ['/a.csv', 'uploads/a.csv', '/mnt/session/uploads/a.csv'],
    ['/workspaces/a.csv', 'uploads/workspaces/a.csv', '/mnt/session/uploads/workspaces/a.csv'],
    ['/etc/passwd', 'uploads/etc/passwd', '/mnt/session/uploads/etc/passwd'],
    ['/data/own/a.csv', 'a.csv', '/data/own/a.csv'],
  ])('of %s is %s, which its agent finds at %s', (path, within, at) => {
    expect(placeOf(path, '/data/own')).toEqual({ within, at })
  })

  test.each(['', '/', '.', '/workspace', '/mnt/session/uploads', '../a', '/workspace/../../etc/passwd', 'a\\b', 'a\0'])(
    'there is none for %j',
    (path) => {
      expect(() => placeOf(path)).toThrow(ConfigError)
    },
  )

  test('two paths of one place have the same place', () => {
    const paths = ['/workspace/uploads/a', '/mnt/session/uploads/a', 'uploads/a', '/a']
    expect(new Set(paths.map((path) => placeOf(path).within))).toEqual(new Set(['uploads/a']))
  })
})
