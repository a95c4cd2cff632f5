import { expect, test } from 'vitest'
import { withVaultKeys } from '../../../../src/cli/shared/vault-key-sources.ts'
import type { VaultKeyOptions } from '../../../../src/server/index.ts'

const KEY = Buffer.alloc(32, 1).toString('base64')

const read = (keys: VaultKeyOptions[], text = ''): unknown =>
  withVaultKeys({ define: true, vaults: { keys } }, { file: '/etc/pool/pool.yaml', text })

test('keys come from files beside the config, from programs, and first from the environment', () => {
  const print = [process.execPath, '-e', `console.log(${JSON.stringify(KEY)})`]
  const keys = [
    { id: 'file', file: 'keys/a' },
    { id: 'program', command: print },
    { id: 'text', key: KEY },
  ]
  expect(read(keys, `newest=${KEY}`)).toEqual({
    define: true,
    vaults: {
      keys: [
        { id: 'newest', key: KEY },
        { id: 'file', file: '/etc/pool/keys/a' },
        { id: 'program', key: KEY },
        { id: 'text', key: KEY },
      ],
    },
  })
  expect(withVaultKeys({ define: true }, { file: undefined, text: '' })).toEqual({ define: true })
})

test('a program that fails is told with what it said, and without its arguments', () => {
  const fail = [process.execPath, '-e', 'console.error("no such secret"); process.exit(3)', 'hidden']
  expect(() => read([{ id: 'a', command: fail }])).toThrow(/keys\.0\.command: .* gave no key: no such secret$/)
  expect(() => read([{ id: 'a', command: ['/nowhere/program', 'hidden'] }])).toThrow(/gave no key: ENOENT$/)
  expect(() => read([], 'hidden')).toThrow('CLAUDE_AGENT_POOL_VAULT_KEYS: entry 1 is not of the form id=key')
})
