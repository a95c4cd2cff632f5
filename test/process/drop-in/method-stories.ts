import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Query } from '../../../src/driver/driver.ts'
import { LivePrompts } from '../../fixtures/live-prompts.ts'
import { modelAsked, until } from '../../fixtures/real-pool.ts'
import { shop } from './option-stories.ts'
import { ending, prompts, wordsIn } from './sides.ts'
import type { Side } from './sides.ts'
import type { Story } from './story.ts'

type QueryMethod = Extract<keyof Query, string>
export type OwnMethod = 'next' | 'return' | 'throw' | 'close' | 'interrupt' | 'streamInput'
/** A method that a process answers. */
export type Control = Exclude<QueryMethod, OwnMethod>

const nothing = (): unknown[] => []

/** What each method is called with, in the order in which they are called. */
const ARGS: Record<Control, (side: Side) => unknown[]> = {
  initializationResult: nothing,
  supportedCommands: nothing,
  supportedModels: nothing,
  supportedAgents: nothing,
  accountInfo: nothing,
  getContextUsage: () => [{ detail: 'summary' }],
  usage_EXPERIMENTAL_MAY_CHANGE_DO_NOT_RELY_ON_THIS_API_YET: () => [{ skipBehaviors: true }],
  readFile: () => ['note.txt'],
  readMcpResource: () => ['shop', 'ui://nothing'],
  rewindFiles: () => [randomUUID(), { dryRun: true }],
  stopTask: () => ['no-task'],
  backgroundTasks: () => ['no-tool-use'],
  reloadSkills: nothing,
  reloadOutputStyles: nothing,
  reloadPlugins: nothing,
  updateSettings: () => ['localSettings', { outputStyle: 'default' }],
  seedReadState: ({ cwd }) => [join(cwd, 'note.txt'), 0],
  setModel: () => ['claude-haiku-4-5'],
  setPermissionMode: () => ['acceptEdits'],
  setMaxThinkingTokens: () => [1_024],
  setMcpPermissionModeOverride: () => ['shop', 'default'],
  applyFlagSettings: () => [{ effortLevel: 'low' }],
  reconnectMcpServer: () => ['shop'],
  mcpServerStatus: nothing,
  toggleMcpServer: () => ['shop', false],
  setMcpServers: () => [{}],
  reinitialize: nothing,
}

/** What each of these methods answers before the first message, and what the first message's turn then is like. */
async function callControls(side: Side): Promise<Record<Control | 'turn', unknown>> {
  const said = new LivePrompts()
  const query = side.query(said, {
    mcpServers: { shop },
    enableFileCheckpointing: true,
    mcpServersDelivery: 'initialize',
    permissionMode: 'default',
    settingSources: [],
    strictMcpConfig: true,
  })
  const answers = {} as Record<Control, unknown>
  for (const [name, args] of Object.entries(ARGS) as [Control, (typeof ARGS)[Control]][]) {
    const method = Reflect.get(query, name) as (...given: unknown[]) => Promise<unknown>
    const answer = Reflect.apply(method, query, args(side)).then(
      (value) => ({ value: shapeOf(value) }),
      (error: unknown) => ({ rejected: (error as Error).message }),
    )
    answers[name] = side.plain(await answer)
  }
  said.say('one')
  said.end()
  const { results } = await ending(query)
  const { body } = await last(side)
  const { model, thinking, output_config } = body as Record<string, unknown>
  return { ...answers, turn: { results, model, thinking, output_config } }
}

const last = async (side: Side) =>
  until(() => {
    const request = side.site.simulator.requests.findLast(({ turn }) => turn !== undefined)
    if (request === undefined) throw new Error('the model has not been asked')
    return request
  })

/** Long lists say no more than their first item; what a machine or a moment says is no difference. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length > 3 ? [shapeOf(value[0]), '…'] : value.map(shapeOf)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([name]) => name !== 'pid' && !name.endsWith('_ms'))
  return Object.fromEntries(entries.map(([name, item]) => [name, shapeOf(item)]))
}

export const asked: Story<Control | 'turn'> = {
  name: 'methods are called before the first message',
  tell: callControls,
}

/** What comes of a query that is ended in mid-turn. */
export const ended: Story<'returned' | 'thrown' | 'disposed' | 'closed' | 'late'> = {
  name: 'a query is ended in mid-turn',
  tell: async (side) => {
    const begun = async (): Promise<Query> => {
      const query = side.query('one\n@sim silence')
      await query.next()
      return query
    }
    const returned = await begun()
    const thrown = await begun()
    const disposed = await begun()
    const closed = side.query('one\n@sim silence')
    const reading = ending(closed, ({ type }) => {
      if (type === 'system') closed.close()
    })
    return {
      returned: [await returned.return(), await returned.next()],
      thrown: [
        await thrown.throw(new Error('mine')).catch((error: unknown) => (error as Error).message),
        await thrown.next(),
      ],
      disposed: [await disposed[Symbol.asyncDispose](), await disposed.next()],
      closed: [(await reading).messages.at(-1)?.type, (await reading).threw, await closed.next()],
      late: await closed.supportedModels().catch(() => 'rejected'),
    }
  },
}

export const interrupted: Story<'receipt'> = {
  name: 'a turn is interrupted',
  tell: async (side) => {
    const query = side.query('one\n@sim silence')
    const reading = ending(query)
    await modelAsked(side.site, 'one')
    const receipt = await query.interrupt()
    const { results, threw } = await reading
    return { receipt: [receipt, results, wordsIn(threw)] }
  },
}

export const added: Story<'results'> = {
  name: 'prompts are added',
  tell: async (side) => {
    const said = new LivePrompts()
    const query = side.query(said)
    said.say('one')
    const { results, threw } = await ending(query, async ({ type }) => {
      if (type !== 'result' || said.hasEnded) return
      await query.streamInput(prompts('two'))
      said.end()
    })
    return { results: [results, threw] }
  },
}
