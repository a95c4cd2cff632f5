import { expect, test } from 'vitest'
import { nextState } from '../../../src/worker/lifecycle.ts'
import type { WorkerEvent, WorkerState } from '../../../src/worker/lifecycle.ts'

const states: WorkerState[] = ['starting', 'idle', 'frozen', 'busy', 'closing', 'closed']
const events: WorkerEvent[] = ['ready', 'begin', 'finish', 'freeze', 'thaw', 'leave', 'gone']

test('these transitions are legal, and no others', () => {
  const legal = states.flatMap((state) =>
    events.flatMap((event) => {
      const next = nextState(state, event)
      return next === undefined ? [] : [`${state} -${event}→ ${next}`]
    }),
  )
  expect(legal).toEqual([
    'starting -ready→ idle',
    'starting -leave→ closing',
    'idle -begin→ busy',
    'idle -freeze→ frozen',
    'idle -leave→ closing',
    'frozen -thaw→ idle',
    'frozen -leave→ closing',
    'busy -finish→ idle',
    'busy -leave→ closing',
    'closing -gone→ closed',
  ])
})

test('from every state there is a way to closed, and none back', () => {
  const reachable = (from: WorkerState): Set<WorkerState> => {
    const found = new Set<WorkerState>()
    const visit = (state: WorkerState): void => {
      for (const event of events) {
        const next = nextState(state, event)
        if (next === undefined || found.has(next)) continue
        found.add(next)
        visit(next)
      }
    }
    visit(from)
    return found
  }
  for (const state of states.filter((other) => other !== 'closed')) expect(reachable(state)).toContain('closed')
  expect(reachable('closed').size).toBe(0)
  expect(reachable('closing')).toEqual(new Set(['closed']))
})
