import { expect, test } from 'vitest'
import { readAgent } from '../../../src/agents/agent.ts'
import { readLimits } from '../../../src/options/limits.ts'
import { RENAMED } from '../../../src/options/renamed.ts'
import { loose, problemOf } from '../../fixtures/config-problem.ts'

/** `a.b: 1` as `{ a: { b: 1 } }`. */
const nested = (path: string): object =>
  path.split('.').reduceRight<unknown>((value, key) => ({ [key]: value }), 1) as object

test.for(Object.entries(RENAMED))('%s is refused, and %s is named', ([before, now]) => {
  const [section, ...rest] = before.split('.')
  const read = (): unknown => {
    if (section === 'limits') return readLimits(loose(nested(rest.join('.')) as Record<string, unknown>))
    if (section === 'agents') return readAgent('one', loose(nested(rest.slice(1).join('.')) as Record<string, unknown>))
    return readAgent('query:x', loose(nested(rest.join('.')) as Record<string, unknown>), { ownProcess: true })
  }
  const named = (path: string): string => path.replace('*', 'one')
  expect(problemOf(read)).toBe(`${named(before)}: is called ${named(now)} now; rename it`)
})
