import { setTimeout as sleep } from 'node:timers/promises'
import { calm } from './bench.ts'
import type { TurnTimes } from './conversation.ts'
import type { Round, Row } from './report.ts'

const WARM_UP_TURNS = 10
/** A person does not answer within the same millisecond: neither side pays for what the other does after a turn. */
const PAUSE_MS = 5

/** Two conversations that have had their first turn, as those who are compared hold them. */
export interface LivePair extends AsyncDisposable {
  ours(text: string): Promise<TurnTimes>
  theirs(text: string): Promise<TurnTimes>
}

/** Measures turns of processes that live, of both sides in turns. */
export async function liveTurns(
  quick: boolean,
  names: Pick<Row, 'ours' | 'theirs'>,
  begin: (pair: number) => Promise<LivePair>,
): Promise<Row[]> {
  const firsts: Round[] = []
  const results: Round[] = []
  // One claude process may be 5 % faster than another of its kind for all its life: so many pairs, and few turns of each.
  for (let number = 0; number < (quick ? 2 : 24); number += 1) {
    await using pair = await begin(number)
    const first: Round = { ours: [], theirs: [] }
    const result: Round = { ours: [], theirs: [] }
    await calm()
    for (let turn = 0; turn < WARM_UP_TURNS + (quick ? 20 : 30); turn += 1) {
      for (const side of turn % 2 === 0 ? (['theirs', 'ours'] as const) : (['ours', 'theirs'] as const)) {
        await sleep(PAUSE_MS)
        const times = await pair[side]('ping')
        if (turn < WARM_UP_TURNS) continue
        first[side].push(times.first)
        result[side].push(times.result)
      }
    }
    firsts.push(first)
    results.push(result)
  }
  const sides = { ...names, unit: 'ms', compare: 'ours / theirs', reach: { atMost: 1.05 } } as const
  return [
    { what: 'live turn, first message', rounds: firsts, ...sides },
    { what: 'live turn, result', rounds: results, ...sides },
  ]
}
