import { describe, expect, test } from 'vitest'
import { readAdmission } from '../../../src/options/admission.ts'
import { readApi } from '../../../src/options/api.ts'
import { readLimits } from '../../../src/options/limits.ts'
import { readResidency } from '../../../src/options/residency.ts'
import { readSpares } from '../../../src/options/spares.ts'
import { readStarts } from '../../../src/options/starts.ts'
import { loose, problemOf } from '../../fixtures/config-problem.ts'

test('without options everything has its documented default', () => {
  expect(readResidency(undefined)).toEqual({
    pattern: 'adaptive',
    learns: true,
    ttlUntilLearned: true,
    idleTtlMs: 30 * 60_000,
    maxAgeMs: 6 * 3_600_000,
    maxTurnsPerWorker: 200,
    maxMemoryBytes: 2 ** 30,
    pinLimitMs: 4 * 3_600_000,
    freezes: false,
    freezeAfterMs: 20_000,
  })
  expect(readLimits(undefined)).toMatchObject({
    memoryBytes: 'auto',
    turns: 'auto',
    turnsPerTenant: 'auto',
    workers: 'auto',
    turnTimeoutMs: 30 * 60_000,
    inactivityTimeoutMs: 10 * 60_000,
    spoolBytes: 2 ** 30,
  })
  expect(readStarts(undefined)).toEqual({
    concurrent: undefined,
    timeoutMs: 60_000,
    mcpTimeoutMs: 15_000,
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
  expect(readLimits({ turnTimeout: 'none', inactivityTimeout: 'none' })).toMatchObject({
    turnTimeoutMs: Infinity,
    inactivityTimeoutMs: Infinity,
  })
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
  ])('of %s is refused by name, with the one that was meant or those that are known', (section, read) => {
    const end = section === 'residency' ? 'did you mean idleTtl\\?$' : 'known are: '
    expect(problemOf(read)).toMatch(new RegExp(`^${section}\\.idleTTL: is not an option; ${end}`))
  })

  test('is refused although an object inherits something of that name', () => {
    expect(problemOf(() => readResidency(loose({ toString: '5m' })))).toContain('residency.toString: is not an option')
  })
})

describe('a value of another type is refused with what to write', () => {
  test.each<[object, string]>([
    [
      { idleTtl: 30 },
      'idleTtl: must be text with a unit, like "30m", or "none"; a number of milliseconds is idleTtlMs',
    ],
    [{ idleTtlMs: '30m' }, 'idleTtlMs: must be a number of milliseconds; text with a unit is idleTtl'],
    [
      { maxMemory: 1024 },
      'maxMemory: must be text with a unit, like "2GiB", or "none"; a number of bytes is maxMemoryBytes',
    ],
    [{ maxTurnsPerWorker: '5' }, 'maxTurnsPerWorker: must be a whole number of at least 1, or "none"'],
  ])('%j', (input, problem) => {
    expect(problemOf(() => readResidency(loose(input)))).toBe(`residency.${problem}`)
  })

  test('and a credential without the credential', () => {
    expect(problemOf(() => readApi(loose({ key: 12345 })))).toBe(
      'api.key: must be text, not a number; put it in quotes',
    )
  })

  test('and what holds with another mode alone says so', () => {
    expect(problemOf(() => readAdmission(loose({ timeout: '5s' })))).toBe(
      'admission.timeout: holds with mode: wait alone; add that, or leave it out',
    )
  })
})

test.each([42, 'auto', [], null, () => undefined])('a section that is %j is refused', (section) => {
  const problem = problemOf(() => readResidency(loose(section)))
  // Nothing at all is the same as leaving it out.
  expect(problem).toBe(section === null ? 'none' : problem)
  expect(problem.startsWith('residency: ')).toBe(section !== null)
})
