import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import {
  limitsOf,
  readAdmission,
  readAgentResidency,
  readApi,
  readLimits,
  readResidency,
  readSpares,
  readStarts,
} from '../../src/options.ts'

/** What a user without TypeScript, or with a config file, may pass. */
const loose = <T>(value: unknown): T => value as T

const problemOf = (read: () => unknown): string => {
  try {
    read()
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as ConfigError).message
  }
  return 'none'
}

test('without options everything has its documented default', () => {
  expect(readResidency(undefined)).toEqual({
    pattern: 'adaptive',
    learns: true,
    outstaysTtl: true,
    idleTtlMs: 30 * 60_000,
    maxAgeMs: 6 * 3_600_000,
    maxTurnsPerWorker: 200,
    maxMemoryBytes: 2 ** 30,
    pinLimitMs: 4 * 3_600_000,
  })
  expect(readLimits(undefined)).toMatchObject({
    memoryBytes: 'auto',
    turns: 'auto',
    turnsPerTenant: 'auto',
    workers: 'auto',
    turnTimeMs: 30 * 60_000,
    silenceMs: 10 * 60_000,
    spoolBytes: 2 ** 30,
  })
  expect(readStarts(undefined)).toEqual({
    concurrent: undefined,
    timeoutMs: 60_000,
    eofGraceMs: 2_000,
    sigtermGraceMs: 5_000,
  })
  expect(readAdmission(undefined)).toEqual({ mode: 'shed' })
  expect(readAdmission({ mode: 'wait' })).toEqual({ mode: 'wait', timeoutMs: 2_000, maxWaiting: 100 })
  expect(readSpares('spares', undefined)).toEqual({ min: 0, max: 2 })
  expect(readApi(undefined)).toEqual({})
})

test('what was resolved cannot be changed any more', () => {
  for (const section of [readResidency({}), readLimits({}), readStarts({}), readApi({})]) {
    expect(Object.isFrozen(section)).toBe(true)
  }
})

test('strings with units and numbers with a unit in the name mean the same', () => {
  expect(readResidency({ idleTtl: '90s', maxMemory: '2GiB' })).toEqual(
    readResidency({ idleTtlMs: 90_000, maxMemoryBytes: 2 ** 31 }),
  )
})

test('"none" switches a limit off where one may do without', () => {
  expect(readResidency({ idleTtl: 'none', maxAge: 'none', maxMemory: 'none' })).toMatchObject({
    idleTtlMs: Infinity,
    maxAgeMs: Infinity,
    maxMemoryBytes: Infinity,
  })
  expect(readLimits({ turnTime: 'none', silence: 'none' })).toMatchObject({ turnTimeMs: Infinity, silenceMs: Infinity })
  expect(problemOf(() => readResidency({ pinLimit: 'none' }))).toContain(
    'residency.pinLimit: "none" is not a number with',
  )
  expect(problemOf(() => readStarts({ timeout: 'none' }))).toContain('starts.timeout: "none" is not a number with')
})

describe('a quantity', () => {
  test.each([0, -1, NaN, Infinity, -Infinity])('of %d milliseconds is refused by name', (idleTtlMs) => {
    expect(problemOf(() => readResidency({ idleTtlMs }))).toContain('residency.idleTtlMs: ')
  })

  test.each(['', '0s', '-5m', '5', '5 lightyears', '2GiB', 'auto', 'None'])('of %j is refused by name', (idleTtl) => {
    expect(problemOf(() => readResidency({ idleTtl }))).toContain('residency.idleTtl: ')
  })

  test.each([30, null, true, ['30m'], {}])('that is %j instead of a string is refused by name', (idleTtl) => {
    expect(problemOf(() => readResidency(loose({ idleTtl })))).toContain('residency.idleTtl: ')
  })

  test.each(['30', null, []])('that is %j instead of a number is refused by name', (idleTtlMs) => {
    expect(problemOf(() => readResidency(loose({ idleTtlMs })))).toContain('residency.idleTtlMs: ')
  })

  test('given in both forms is refused, since one of them would be ignored', () => {
    expect(problemOf(() => readResidency({ idleTtl: '30m', idleTtlMs: 1 }))).toBe(
      'residency.idleTtl: is given twice, as idleTtl and as idleTtlMs; keep one',
    )
    expect(problemOf(() => readLimits({ memory: 'auto', memoryBytes: 1 }))).toContain('limits.memory: is given twice')
  })
})

describe('a count', () => {
  test.each([0, -1, 1.5, NaN, Infinity])('of %d is refused by name', (turns) => {
    expect(problemOf(() => readLimits({ turns }))).toContain('limits.turns: ')
    expect(problemOf(() => readStarts({ concurrent: turns }))).toContain('starts.concurrent: ')
    expect(problemOf(() => readResidency({ maxTurnsPerWorker: turns }))).toContain('residency.maxTurnsPerWorker: ')
    expect(problemOf(() => readAdmission({ mode: 'wait', maxWaiting: turns }))).toContain('admission.maxWaiting: ')
  })

  test.each(['5', null, 'AUTO', true])('that is %j is refused by name', (turns) => {
    expect(problemOf(() => readLimits(loose({ turns })))).toContain('limits.turns: ')
  })

  test('may be "auto" only where there is something to work it out from', () => {
    expect(readLimits({ turns: 'auto', workers: 'auto', turnsPerTenant: 'auto' }).turns).toBe('auto')
    expect(problemOf(() => readStarts(loose({ concurrent: 'auto' })))).toContain('starts.concurrent: ')
  })
})

describe('an unknown key', () => {
  test.each([
    ['residency', (): unknown => readResidency(loose({ idleTTL: '5m' }))],
    ['limits', (): unknown => readLimits(loose({ idleTTL: '5m' }))],
    ['starts', (): unknown => readStarts(loose({ idleTTL: '5m' }))],
    ['admission', (): unknown => readAdmission(loose({ idleTTL: '5m' }))],
    ['admission', (): unknown => readAdmission(loose({ mode: 'wait', idleTTL: '5m' }))],
    ['api', (): unknown => readApi(loose({ idleTTL: '5m' }))],
    ['agents.a.spares', (): unknown => readSpares('agents.a.spares', loose({ idleTTL: '5m' }))],
  ])('of %s is refused by name, with those that are known', (section, read) => {
    expect(problemOf(read)).toMatch(new RegExp(`^${section}\\.idleTTL: is not an option; known are: `))
  })

  test('is refused although an object inherits something of that name', () => {
    expect(problemOf(() => readResidency(loose({ toString: '5m' })))).toContain('residency.toString: is not an option')
  })
})

test.each([42, 'auto', [], null, () => undefined])('a section that is %j is refused', (section) => {
  const problem = problemOf(() => readResidency(loose(section)))
  // Nothing at all is the same as leaving it out.
  expect(problem).toBe(section === null ? 'none' : problem)
  expect(problem.startsWith('residency: ')).toBe(section !== null)
})

describe('a pattern', () => {
  test.each([
    ['adaptive', { learns: true, outstaysTtl: true, idleTtlMs: 30 * 60_000, maxTurnsPerWorker: 200 }],
    ['hybrid', { learns: false, outstaysTtl: false, idleTtlMs: 30 * 60_000, maxTurnsPerWorker: 200 }],
    ['ephemeral', { learns: false, outstaysTtl: false, idleTtlMs: 30 * 60_000, maxTurnsPerWorker: 1 }],
    ['long-running', { learns: false, outstaysTtl: false, idleTtlMs: Infinity, maxTurnsPerWorker: 200 }],
    ['single', { learns: false, outstaysTtl: false, idleTtlMs: Infinity, maxTurnsPerWorker: 200 }],
  ] as const)('%s is a set of defaults', (pattern, defaults) => {
    expect(readResidency({ pattern })).toMatchObject({ pattern, ...defaults, maxAgeMs: 6 * 3_600_000 })
  })

  test('yields to what is set explicitly', () => {
    expect(readResidency({ pattern: 'long-running', idleTtl: '1d', maxTurnsPerWorker: 'none' })).toMatchObject({
      idleTtlMs: 86_400_000,
      maxTurnsPerWorker: Infinity,
    })
    expect(readResidency({ idleTtl: '10m' })).toMatchObject({ learns: true, outstaysTtl: false, idleTtlMs: 600_000 })
  })

  test.each(['Adaptive', 'lru', '', 5, null])('that is %j is refused', (pattern) => {
    expect(problemOf(() => readResidency(loose({ pattern })))).toBe(
      `residency.pattern: ${JSON.stringify(pattern)} is not one of: adaptive, ephemeral, hybrid, long-running, single`,
    )
  })

  test('is not contradicted', () => {
    expect(problemOf(() => readResidency({ pattern: 'ephemeral', maxTurnsPerWorker: 5 }))).toContain(
      'residency.maxTurnsPerWorker: contradicts the pattern ephemeral',
    )
    for (const pattern of ['long-running', 'single'] as const) {
      expect(problemOf(() => readResidency({ pattern, maxTurnsPerWorker: 1 }))).toContain(
        `residency.maxTurnsPerWorker: 1 contradicts the pattern ${pattern}`,
      )
    }
    expect(readResidency({ pattern: 'hybrid', maxTurnsPerWorker: 1 }).maxTurnsPerWorker).toBe(1)
  })

  test('single is a limit of one process', () => {
    const single = readResidency({ pattern: 'single' })
    expect(limitsOf(single, readLimits({})).workers).toBe(1)
    expect(limitsOf(single, readLimits({ workers: 1, turns: 1 })).workers).toBe(1)
    expect(limitsOf(readResidency({}), readLimits({ workers: 7 })).workers).toBe(7)
    for (const name of ['workers', 'turns', 'turnsPerTenant']) {
      expect(problemOf(() => limitsOf(single, readLimits({ [name]: 2 })))).toContain(`limits.${name}: 2 contradicts`)
    }
  })

  test('of an agent stands for itself; without one, what the agent leaves out is the pool’s', () => {
    const outer = { pattern: 'hybrid', idleTtl: '2h', maxMemory: '2GiB' } as const
    expect(readAgentResidency('a', { idleTtlMs: 5 }, outer)).toEqual(
      readResidency({ pattern: 'hybrid', idleTtlMs: 5, maxMemory: '2GiB' }),
    )
    expect(readAgentResidency('a', { pattern: 'ephemeral' }, outer)).toEqual(readResidency({ pattern: 'ephemeral' }))
    expect(problemOf(() => readAgentResidency('agents.a.residency', { pattern: 'single' }))).toContain(
      'agents.a.residency.pattern: single is a pattern of the whole pool',
    )
    expect(problemOf(() => readAgentResidency('agents.a.residency', loose({ idleTTL: '5m' })))).toContain(
      'agents.a.residency.idleTTL: is not an option',
    )
  })
})

describe('admission', () => {
  test('knows two modes', () => {
    expect(problemOf(() => readAdmission(loose({ mode: 'queue' })))).toBe(
      'admission.mode: "queue" is not one of: shed, wait',
    )
  })

  test('has nothing to wait for when it sheds', () => {
    expect(problemOf(() => readAdmission(loose({ mode: 'shed', timeout: '2s' })))).toContain('admission.timeout')
    expect(problemOf(() => readAdmission(loose({ timeout: '2s' })))).toContain('admission.timeout')
  })
})

describe('spares', () => {
  test('have at least as many at most as they have at least', () => {
    expect(readSpares('spares', { min: 5 })).toEqual({ min: 5, max: 5 })
    expect(readSpares('spares', { max: 0 })).toEqual({ min: 0, max: 0 })
    expect(problemOf(() => readSpares('agents.a.spares', { min: 3, max: 2 }))).toBe(
      'agents.a.spares.max: 2 is less than min (3)',
    )
  })

  test.each([-1, 0.5, NaN])('are never %d', (min) => {
    expect(problemOf(() => readSpares('agents.a.spares', { min }))).toContain('agents.a.spares.min: ')
  })
})

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
