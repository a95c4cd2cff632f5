import { describe, expect, test } from 'vitest'
import { Agents, isOfQuery } from '../../../src/agents/catalogue.ts'

/** Agents of 101 queries with options of their own; `forgotten` are those that made room. */
function remembered(isInUse: (name: string) => boolean): { names: string[]; forgotten: string[][] } {
  const agents = new Agents({ a: {} }, undefined)
  const forgotten: string[][] = []
  agents.onChange((names) => forgotten.push([...names]))
  const names = Array.from({ length: 101 }, (_, number) => agents.adHoc({ model: `m${number}` }, isInUse).name)
  return { names, forgotten }
}

describe('The agent of a query', () => {
  test('is the same for the same options, and no other agent can have its name', () => {
    const agents = new Agents({ a: {} }, undefined)
    const one = agents.adHoc({ model: 'm' }, () => false)
    expect(agents.adHoc({ model: 'm' }, () => false)).toBe(one)
    expect(agents.adHoc({ model: 'n' }, () => false)).not.toBe(one)
    expect([isOfQuery({ agent: one.name }), isOfQuery({ agent: 'a' })]).toEqual([true, false])
  })

  test('is remembered among a hundred; the oldest that nobody uses makes room', () => {
    const idle = remembered(() => false)
    expect(idle.forgotten).toEqual([[idle.names[0]]])
    const first = new Set(idle.names.slice(0, 3))
    expect(remembered((name) => first.has(name)).forgotten).toEqual([[idle.names[3]]])
  })

  test('stays while it is used, however many there are', () => {
    expect(remembered(() => true).forgotten).toEqual([])
  })
})
