import type { Operation } from '../../control/operations.ts'
import type { Row, Sort } from './rows.ts'

/** What a key asks for. */
export type Wish =
  | { kind: 'quit' }
  | { kind: 'sort'; by: Sort }
  | { kind: 'move'; by: number }
  | { kind: 'act'; says: string; operation: Operation }
  | { kind: 'no'; says: string }

const SORTS: Readonly<Record<string, Sort>> = { m: 'memory', a: 'age', p: 'phase' }

const MOVES: Readonly<Record<string, number>> = {
  '\u001B[A': -1,
  k: -1,
  '\u001B[B': 1,
  j: 1,
  '\u001B[5~': -10,
  '\u001B[6~': 10,
}

const ESCAPE = '\u001B['

/** Splits input into keys. Fast typing arrives as one text, and an arrow key has several characters. */
export function keysIn(text: string): string[] {
  const [first = '', ...others] = text.split(ESCAPE)
  return [
    ...Array.from(first),
    ...others.flatMap((rest) => {
      const [code = ''] = /^[0-9;]*[A-Za-z~]?/.exec(rest) ?? []
      return [ESCAPE + code, ...Array.from(rest.slice(code.length))]
    }),
  ]
}

/** What a key means for the row that is marked; undefined: nothing. */
export function wishOf(key: string, row: Row | undefined): Wish | undefined {
  if (key === 'q' || key === '\u0003' || key === '\u0004') return { kind: 'quit' }
  const by = SORTS[key]
  if (by !== undefined) return { kind: 'sort', by }
  const move = MOVES[key]
  if (move !== undefined) return { kind: 'move', by: move }
  if (key === 'i' || key === 'h') return onSession(key === 'i' ? 'interrupt' : 'hibernate', row)
  if (key === 'c' || key === 'C') return onWorker(key === 'C', row)
  return undefined
}

function onSession(verb: 'interrupt' | 'hibernate', row: Row | undefined): Wish {
  if (row?.session === undefined) return { kind: 'no', says: `mark a session with the arrow keys to ${verb} it` }
  const { tenant, session: key } = row
  return { kind: 'act', says: `${verb} session ${tenant}/${key}?`, operation: { do: verb, tenant, key } }
}

function onWorker(now: boolean, row: Row | undefined): Wish {
  if (row?.worker === undefined) return { kind: 'no', says: 'mark a worker with the arrow keys to close it' }
  const { worker: id, state } = row
  const how = now ? ' now, also in mid-turn' : state === 'busy' ? ' after its turn' : ''
  return { kind: 'act', says: `close worker ${id}${how}?`, operation: { do: 'closeWorker', id, now } }
}
