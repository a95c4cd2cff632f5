import { expect } from 'vitest'
import type { AgentOptions, Pool, PoolOptions, Session } from '../../src/index.ts'
import { openSite, say, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { expectTrueGauges } from './assertions.ts'
import { Witness } from './witness.ts'

/** A pool with one session that something is about to happen to. */
export interface OneSession {
  site: Site
  pool: Pool
  session: Session
  witness: Witness
  /** The numbers are true again, and the session goes on: this is its turn `turn`. */
  goesOn: (turn: number) => Promise<void>
}

export async function oneSession(agent: AgentOptions, options: Partial<PoolOptions> = {}): Promise<OneSession> {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: agent }, ...options })
  const session = await pool.session('one', { agent: 'a' })
  return {
    site,
    pool,
    session,
    witness: new Witness(site.root),
    goesOn: async (turn) => {
      await until(() => expectTrueGauges(pool.stats(), pool.workers()))
      const warmth = turn === 1 ? {} : { warmth: 'resumed' }
      expect(await say(session, 'next')).toMatchObject({ text: `[turn ${turn}] You said: next`, ...warmth })
    },
  }
}
