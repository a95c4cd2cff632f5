import { expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { Questions, createServer, listen } from '../../../src/server/index.ts'
import { shutDownWithProcess } from '../../../src/shutdown.ts'
import { loose } from '../../fixtures/config-problem.ts'
import { fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

async function* nothing(): AsyncGenerator<string> {}

type Call = (all: Fakes, options: never) => unknown

/** Calls as a user without TypeScript writes them, with one name misspelt. */
const CALLS: [string, object, string, Call][] = [
  ['session()', { tennant: 'acme' }, 'tenant', ({ pool }, options) => pool.session('k', options)],
  ['sessions()', { tennant: 'acme' }, 'tenant', ({ pool }, options) => pool.sessions(options)],
  ['history()', { limt: 5 }, 'limit', async ({ session }, options) => (await session('k')).history(options)],
  ['events()', { folow: true }, 'follow', async ({ session }, options) => (await session('k')).events(options)],
  [
    'send()',
    { onBuzy: 'queue' },
    'onBusy',
    async ({ session }, options) => (await session('k')).send('x', options).result,
  ],
  [
    'exportSession()',
    { workspaces: false },
    'workspace',
    ({ pool }, options) => pool.exportSession('k', options).next(),
  ],
  ['importSession()', { agnet: 'a' }, 'agent', ({ pool }, options) => pool.importSession(nothing(), options)],
  ['prune()', { dryrun: true }, 'dryRun', ({ pool }, options) => pool.prune(options)],
  ['query()', { promt: 'x' }, 'prompt', ({ pool }, options) => pool.query(options)],
  ['drain()', { cutt: undefined }, 'cut', ({ pool }, options) => pool.drain(options)],
  ['shutDownWithProcess()', { grase: '5s' }, 'grace', ({ pool }, options) => shutDownWithProcess(pool, options)],
  ['listen()', { prot: 0 }, 'port', ({ pool }, options) => listen(createServer(pool), options)],
  ['Questions', { deadlineMS: 5 }, 'deadlineMs', (_all, options) => new Questions(options)],
]

test.each(CALLS)('%s refuses %j', async (call, options, meant, use) => {
  const all = await fakes()
  const [name = ''] = Object.keys(options)
  const problem = await Promise.resolve()
    .then(() => use(all, loose<never>(options)))
    .catch((error: unknown) => error)
  expect(problem).toBeInstanceOf(ConfigError)
  expect((problem as ConfigError).message).toBe(`${name}: is not an option of ${call}; did you mean ${meant}?`)
})

test.each(CALLS)('%s refuses what is no object of options', async (_call, _options, _meant, use) => {
  const all = await fakes()
  const problem = await Promise.resolve()
    .then(() => use(all, loose<never>(null)))
    .catch((error: unknown) => error)
  expect(problem).toBeInstanceOf(ConfigError)
})
