import { PoolError, SessionGoneError } from '../../errors.ts'
import type { Pool, Session, Turn } from '../../index.ts'
import { freeKey } from './conversation.ts'
import type { Conversation } from './conversation.ts'
import { pastOf } from './past.ts'
import type { ChatScreen } from './screen.ts'

interface LocalParts {
  pool: Pool
  session: Session
  tenant: string
  screen: ChatScreen
  interactive: boolean
}

/** The session of a tenant; undefined if there is none. */
export async function findSession(pool: Pool, key: string, tenant: string): Promise<Session | undefined> {
  try {
    return await pool.session(key, { tenant })
  } catch (error) {
    if (error instanceof SessionGoneError) return undefined
    throw error
  }
}

/** A turn whose last answer is the API's error is a success to the CLI all the same. */
const endedWith = (subtype: string): string => `the turn ended with ${subtype === 'success' ? 'an error' : subtype}`

/** A conversation with a pool of this process. */
export class LocalConversation implements Conversation {
  readonly #parts: LocalParts
  #session: Session
  #turn: Turn | undefined

  constructor(parts: LocalParts) {
    this.#parts = parts
    this.#session = parts.session
  }

  get key(): string {
    return this.#session.key
  }

  async greet(): Promise<void> {
    const { screen, interactive } = this.#parts
    const { key, turns, agent } = await this.#session.info()
    screen.greet(key, { turns, agent })
    if (!interactive) return
    if (turns > 0) await this.#recall()
    // While the person still types, the process starts. If it cannot, the turn will say why.
    this.#session.warm().catch(() => undefined)
  }

  async say(text: string): Promise<string | undefined> {
    const { screen } = this.#parts
    const begun = performance.now()
    const turn = this.#session.send(text)
    this.#turn = turn
    try {
      for await (const message of turn) screen.show(message)
      const result = await turn.result
      screen.finish(result, turn, performance.now() - begun)
      return result.is_error ? endedWith(result.subtype) : undefined
    } catch (error) {
      if (!(error instanceof PoolError)) throw error
      return `${error.message} (${error.code})`
    } finally {
      this.#turn = undefined
    }
  }

  interrupt(): void {
    void this.#turn?.interrupt()
  }

  async facts(): Promise<Record<string, string | number | undefined>> {
    const { key, tenant, agent, state, turns, cwd, sdkSessionId } = await this.#session.info()
    return { session: key, tenant, agent, state, turns, cwd, 'SDK session': sdkSessionId }
  }

  async change(wanted: string | undefined): Promise<void> {
    const { pool, tenant } = this.#parts
    const find = (key: string): Promise<Session | undefined> => findSession(pool, key, tenant)
    const key = wanted ?? (await freeKey(this.#parts.session.key, async (each) => (await find(each)) !== undefined))
    const next = (await find(key)) ?? (await pool.session(key, { tenant, agent: this.#session.agent }))
    await this.#session.hibernate()
    this.#session = next
  }

  leave(): void {
    void this.#parts.pool.close()
  }

  async #recall(): Promise<void> {
    const { screen } = this.#parts
    const past = await pastOf(this.#session)
    if (past === undefined) screen.note('Events are not kept here, so what was said before cannot be shown.')
    else screen.past(past)
  }
}
