import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AgentOptions, Pool, Session, Warmth } from '../../../index.ts'
import type { PlainSdk } from './plain.ts'
import { Stopwatch } from './stopwatch.ts'
import type { Said } from './stopwatch.ts'
import { agUiRun, officialSession } from './wire.ts'

/** A process that the model keeps busy is ended by the CLI. */
const MOST_OF_A_PROCESS_USD = 0.01

const CODE = '4711'
const REMEMBER = `Remember the code ${CODE}. Answer OK and nothing else.`
const RECALL = 'What is the code that you remember? Answer with the code and nothing else.'
const RUN = 'Run exactly this command with the Bash tool, then answer DONE: echo kept > live.txt'
const ASK = 'Run exactly this command with the Bash tool, then answer DONE: touch asked.txt'

/** What the pool did in a step, and what came of the promise that it checks. */
export interface PoolPart extends Omit<Said, 'costUsd'> {
  /** What is not as promised. */
  broken?: string
}

/** One step: what the pool does, and what the plain SDK does for the same. */
export interface Step {
  name: string
  pool: () => Promise<PoolPart>
  /** Left out: the SDK has nothing like it, and `besides` names the step whose time says most. */
  plain?: () => Promise<Said>
  besides?: string
}

/** What the steps work on. */
export interface LiveSite {
  pool: Pool
  /** Where its server listens. */
  url: string
  model: string
  plain: PlainSdk
}

/** The agents, with as little as the model can be asked. `asked` is told of each permission question. */
export const liveAgents = (
  given: Pick<AgentOptions, 'model' | 'env'>,
  asked: (tool: string) => void,
): Record<string, AgentOptions> => {
  const base: AgentOptions = {
    systemPrompt: 'Do what you are told, in as few words as you can.',
    tools: [],
    ...given,
    maxBudgetUsd: MOST_OF_A_PROCESS_USD,
    spares: { max: 0 },
    unboundSpares: { max: 0 },
  }
  const canUseTool: AgentOptions['canUseTool'] = async (tool, input) => {
    asked(tool)
    return { behavior: 'allow', updatedInput: input }
  }
  return {
    plain: base,
    spared: { ...base, spares: { min: 1, max: 1 } },
    tools: { ...base, tools: ['Bash'], allowedTools: ['Bash'] },
    asking: { ...base, tools: ['Bash'], canUseTool },
  }
}

async function say(session: Session, prompt: string, warmth: readonly Warmth[]): Promise<PoolPart> {
  const watch = new Stopwatch()
  const turn = session.send(prompt)
  for await (const message of turn) if (message.type === 'assistant') watch.first()
  const result = await turn.result
  const said = { ...watch.stop(), text: result.subtype === 'success' ? result.result : result.subtype }
  const found = turn.warmth
  const broken =
    found === undefined || !warmth.includes(found) ? `its process was ${found}, not ${warmth[0]}` : undefined
  return { ...said, failed: result.is_error, ...(broken === undefined ? {} : { broken }) }
}

const remembering = (part: PoolPart): PoolPart =>
  part.broken === undefined && !part.text.includes(CODE)
    ? { ...part, broken: `the conversation does not know what was said before: "${part.text.slice(0, 80)}"` }
    : part

/** A file that the agent's command must have left. */
async function leaving(session: Session, part: PoolPart, name: string, content: string): Promise<PoolPart> {
  const path = join((await session.info()).cwd ?? '', name)
  const found = existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
  if (part.broken !== undefined || found === content) return part
  return { ...part, broken: 'the command that the agent was to run has left nothing' }
}

/** All steps in order. `asked`: the tools that were asked for so far. */
export function liveSteps({ pool, url, model, plain }: LiveSite, asked: readonly string[]): Step[] {
  const session = (agent: string): Promise<Session> => pool.session(agent, { agent })
  return [
    {
      name: 'cold',
      pool: async () => say(await session('plain'), REMEMBER, ['cold']),
      plain: () => plain.say('plain', REMEMBER),
    },
    {
      name: 'live',
      pool: async () => remembering(await say(await session('plain'), RECALL, ['live'])),
      plain: () => plain.say('plain', RECALL),
    },
    {
      name: 'resumed',
      async pool() {
        const hibernated = await session('plain')
        await hibernated.hibernate()
        return remembering(await say(hibernated, RECALL, ['resumed']))
      },
      async plain() {
        await plain.hibernate('plain')
        return plain.say('plain', RECALL)
      },
    },
    {
      name: 'spare',
      async pool() {
        await spareReady(pool)
        return say(await session('spared'), REMEMBER, ['spare'])
      },
      besides: 'cold',
    },
    {
      name: 'Bash tool',
      async pool() {
        const working = await session('tools')
        return leaving(working, await say(working, RUN, ['cold']), 'live.txt', 'kept')
      },
      plain: () => plain.say('tools', RUN),
    },
    {
      name: 'permission question',
      async pool() {
        const asking = await session('asking')
        const part = await leaving(asking, await say(asking, ASK, ['cold']), 'asked.txt', '')
        if (part.broken !== undefined || asked.includes('Bash')) return part
        return { ...part, broken: 'the agent used a tool without the permission that it had to ask for' }
      },
      plain: () => plain.say('asking', ASK),
    },
    { name: 'official client', pool: () => officialSession(url, model, REMEMBER), besides: 'cold' },
    { name: 'AG-UI', pool: () => agUiRun(url, 'plain', REMEMBER), besides: 'cold' },
  ]
}

/** Resolves when the pool has a spare that is ready. */
async function spareReady(pool: Pool): Promise<void> {
  const ready = (): boolean =>
    pool.workers().some(({ agent, session, state }) => agent === 'spared' && session === undefined && state === 'idle')
  while (!ready()) {
    await new Promise<void>((resolve) => {
      const heard = (): void => {
        pool.off('worker.ready', heard)
        resolve()
      }
      pool.on('worker.ready', heard)
    })
  }
}
