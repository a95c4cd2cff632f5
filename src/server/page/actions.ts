import { z } from 'zod'
import type { Pool } from '../../index.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { ServerSettings } from '../context.ts'
import { ApiError } from '../errors.ts'
import type { Quotas } from '../limits.ts'
import type { Questions } from '../questions.ts'
import type { TurnFeeds } from '../turn-feeds.ts'
import type { Action } from './wire.ts'

const name = z.string().min(1).max(1_024)
const session = { tenant: name, key: name }

export const actionSchema: z.ZodType<Action> = z.discriminatedUnion('do', [
  z.strictObject({ do: z.enum(['interrupt', 'hibernate']), ...session }),
  z.strictObject({ do: z.literal('closeWorker'), id: name, now: z.boolean().optional() }),
  z.strictObject({ do: z.enum(['suspend', 'resume']), tenant: name.optional() }),
  z.strictObject({ do: z.literal('drain') }),
  z.strictObject({ do: z.literal('pruneDryRun') }),
  z.strictObject({ do: z.literal('send'), ...session, agent: name.optional(), prompt: z.string().min(1) }),
  z.strictObject({
    do: z.literal('answer'),
    ...session,
    id: name,
    allow: z.boolean(),
    content: z.record(z.string(), z.unknown()).optional(),
  }),
])

interface ActionsContext {
  pool: Pool
  settings: ServerSettings
  quotas: Quotas
  feeds: TurnFeeds
  questions: Questions
  logger: Logger
  drain: (() => void) | undefined
}

/** What operators do from the page. Each is in the log with its operator and how it ended. */
export class Actions {
  readonly #context: ActionsContext

  constructor(context: ActionsContext) {
    this.#context = context
  }

  get canDrain(): boolean {
    return this.#context.drain !== undefined
  }

  /** Resolves with what the page says of it. Throws as the pool does, and ApiError. */
  async take(action: Action, operator: string, requestId: string): Promise<{ said: string }> {
    const { logger } = this.#context
    const facts = { request_id: requestId, operator, action: action.do, ...targetOf(action) }
    try {
      const said = await this.#do(action, operator)
      logger.info('operator action', { ...facts, outcome: 'done' })
      return { said }
    } catch (error) {
      const { code = 'error', message } = error as { code?: string; message: string }
      logger.warn('operator action failed', { ...facts, outcome: code, message })
      throw error
    }
  }

  async #do(action: Action, operator: string): Promise<string> {
    const { pool, drain } = this.#context
    switch (action.do) {
      case 'interrupt':
        return (await (await pool.session(action.key, { tenant: action.tenant })).interrupt())
          ? 'The turn is interrupted.'
          : 'No turn runs in this session.'
      case 'hibernate':
        await (await pool.session(action.key, { tenant: action.tenant })).hibernate()
        return 'The session has no process any more. Its next turn resumes it.'
      case 'closeWorker':
        return (await pool.closeWorker(action.id, { now: action.now ?? false })) === 'closed'
          ? `Worker ${action.id} is closed.`
          : `Worker ${action.id} closes when its turn has ended.`
      case 'suspend':
        pool.suspend(scopeOf(action))
        return 'Suspended: running turns go on, new ones do not start.'
      case 'resume':
        pool.resume(scopeOf(action))
        return 'Resumed: turns start again.'
      case 'drain':
        if (drain === undefined) throw new ApiError('invalid_request_error', 'this server cannot be drained from here')
        drain()
        return 'The server drains: it takes no new turn, and ends after the running ones.'
      case 'pruneDryRun': {
        const { sessions, events, leftovers, more } = await pool.prune({ dryRun: true })
        return `Retention would remove ${sessions.length} sessions, ${events} events and ${leftovers} leftovers now.${more ? ' More are due.' : ''}`
      }
      case 'send':
        return this.#send(action)
      case 'answer':
        return this.#answer(action, operator)
    }
  }

  /** The turn goes on without the page. */
  async #send({ tenant, key, agent, prompt }: Extract<Action, { do: 'send' }>): Promise<string> {
    const { pool, quotas, feeds, settings } = this.#context
    const fallback = settings.defaultAgent ?? pool.agents[0] ?? ''
    const found = await quotas.session(tenant, key, { agent, fallback })
    const feed = feeds.send(found, prompt)
    await feeds.settled(feed)
    if (feed.over && feed.last === 0 && feed.failure !== undefined) throw feed.failure
    return 'Sent.'
  }

  #answer({ tenant, key, id, allow, content }: Extract<Action, { do: 'answer' }>, operator: string): string {
    const answer = { allow, ...(content === undefined ? {} : { content }) }
    const fate = this.#context.questions.answer({ tenant, key }, id, answer, `operator ${operator}`)
    if (fate === 'taken') return allow ? 'Allowed.' : 'Denied.'
    throw new ApiError(
      'not_found_error',
      fate === 'late' ? 'this question was answered already' : 'there is no such question in this session',
    )
  }
}

const scopeOf = ({ tenant }: { tenant?: string | undefined }): { tenant?: string } =>
  tenant === undefined ? {} : { tenant }

/** What an action is about, without what is said in it. */
function targetOf(action: Action): object {
  const { do: _, ...target } = action
  const { prompt: __, content: ___, ...names } = target as Record<string, unknown>
  return names
}
