import type { Options, Query, query } from '@anthropic-ai/claude-agent-sdk'
import { expectTypeOf, test } from 'vitest'
import type { Pool } from '../../src/index.ts'

test('A function that takes query() of the SDK takes that of a pool', () => {
  const pool = {} as Pool
  expectTypeOf(pool.query.bind(pool)).toExtend<typeof query>()
  expectTypeOf<Pool['query']>().returns.toEqualTypeOf<Query>()
  expectTypeOf<Parameters<typeof query>>().toExtend<Parameters<Pool['query']>>()
  type Taken = keyof NonNullable<Parameters<Pool['query']>[0]['options']>
  expectTypeOf<Exclude<Taken, keyof Options>>().toEqualTypeOf<'appendSystemPrompt'>()
})
