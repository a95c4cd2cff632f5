import { describe, expect, test } from 'vitest'
import { readAdmission } from '../../../src/options/admission.ts'
import { loose, problemOf } from '../../fixtures/config-problem.ts'

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
