import type { NewSessionEvent, Session, SessionInfo, Turn } from '../../../index.ts'
import type { ApiSessions, Found } from './sessions.ts'
import { isGone } from './sessions.ts'
import { lastStatus, lastStatuses } from './session-status.ts'
import { wireUsage } from './wire-usage.ts'
import { dollarsOf } from './session-resource.ts'
import type { Budget } from './session-schema.ts'

interface BudgetsContext {
  sessions: ApiSessions
  /** Something went wrong that no client asked for. */
  warn: (message: string, error: unknown) => void
}

/** What the agent is told when a budget that had stopped it leaves room again. */
const GO_ON = 'The budget of this session was used up and has been raised. Continue from where you left off.'

const placeOf = ({ tenant, session }: Found): string => JSON.stringify([tenant, session.key])

/** Tells at the end of each turn what its session has used, stops sessions at their budgets, and lets them go on. */
export class Budgets {
  readonly #context: BudgetsContext
  /** Of sessions with turns under way, the budget as it is now, and the number of those turns. */
  readonly #running = new Map<string, { budget: Budget | null; turns: number }>()

  constructor(context: BudgetsContext) {
    this.#context = context
  }

  /** Starts a turn whose end tells what the session has used, and that it has reached its budget. */
  start(found: Found, send: (lastEvents: (info: SessionInfo) => NewSessionEvent[]) => Turn): Turn {
    const place = placeOf(found)
    const running = this.#running.get(place) ?? { budget: found.resource.budget, turns: 0 }
    this.#running.set(place, running)
    running.turns += 1
    const turn = send((info) => [snapshot(info, running.budget)])
    const ended = (): void => {
      running.turns -= 1
      if (running.turns === 0) this.#running.delete(place)
      if (running.budget !== null) void this.#noteReached(found)
    }
    turn.result.then(ended, ended)
    return turn
  }

  /** The budget of a session was changed. A turn that it had stopped goes on by itself. */
  async changed(found: Found): Promise<void> {
    const running = this.#running.get(placeOf(found))
    if (running !== undefined) running.budget = found.resource.budget
    if (!(await wasStopped(found.session))) return
    const turn = this.start(found, (lastEvents) =>
      found.session.send(GO_ON, { showPrompt: false, onBusy: 'queue', onLeave: 'detach', lastEvents }),
    )
    turn.promptStored.catch((error: unknown) => {
      if (!isGone(error)) this.#context.warn('a session did not go on after its budget was changed', error)
    })
  }

  /** The turn that reached the ceiling has said so itself if the CLI saw it; else this is the first to know. */
  async #noteReached({ tenant, session }: Found): Promise<void> {
    try {
      // Meanwhile it may have been raised or removed.
      const { resource } = await this.#context.sessions.find(tenant, session.key)
      const info = await session.info()
      if (resource.budget === null || info.usage.costUsd < dollarsOf(resource.budget)) return
      const last = await lastStatus(session)
      if (last?.type === 'session.status_idle' && last.stop_reason.type === 'budget_reached') return
      await session.append([
        snapshot(info, resource.budget),
        { type: 'session.status_idle', stop_reason: { type: 'budget_reached' }, stop_details: null },
      ])
    } catch (error) {
      if (!isGone(error)) this.#context.warn('the end of a budget was not noted', error)
    }
  }
}

const snapshot = (info: SessionInfo, budget: Budget | null): NewSessionEvent => ({
  type: 'session.usage',
  usage: wireUsage(info),
  ...(budget === null ? {} : { budget }),
})

/** True when the budget cut the last turn short. One that ended by itself has nothing to go on with. */
async function wasStopped(session: Session): Promise<boolean> {
  const [last, before] = await lastStatuses(session, 2)
  if (last?.type !== 'session.status_idle' || last.stop_reason.type !== 'budget_reached') return false
  return before !== undefined && before.type !== 'session.status_idle'
}
