import { expect, test } from 'vitest'
import { changesBetween } from '../../../src/config/changes.ts'

class Sink {
  readonly made = Symbol('made')
}

const config = (more: object = {}): Record<string, unknown> => ({
  agents: { a: { model: 'm', tools: ['Read'], canUseTool: () => 'allow' } },
  logger: new Sink(),
  limits: { turns: 2 },
  ...more,
})

test('a config that is read again is the same, though its functions and objects are made anew', () => {
  expect(changesBetween(config(), config())).toEqual([])
})

test.each([
  ['a value', { limits: { turns: 3 } }, ['limits.turns']],
  ['an option that is gone', { limits: {} }, ['limits.turns']],
  ['a new section', { starts: { concurrent: 1 } }, ['starts']],
  ['another kind of value', { limits: 'none' }, ['limits']],
  ['another class', { logger: new Map() }, ['logger']],
  [
    'agents',
    { agents: { a: { model: 'm', tools: ['Grep'], canUseTool: () => 'deny' }, b: {} } },
    ['agents.a.canUseTool', 'agents.a.tools', 'agents.b'],
  ],
  ['an agent that is gone', { agents: {} }, ['agents.a']],
])('%s is told by its path', (_, next, paths) => {
  expect(changesBetween(config(), config(next))).toEqual(paths)
})
