import { expect, test } from 'vitest'
import { operate } from '../../../../src/control/operations.ts'
import type { SDKMessage } from '../../../../src/driver/driver.ts'
import type { SessionInfo, TurnPhaseName } from '../../../../src/index.ts'
import type { Delta } from '../../../../src/server/page/wire.ts'
import { MemoryStore } from '../../../../src/store/memory.ts'
import type { FakeProcess, TestPoolOptions } from '../../../../src/testing/index.ts'
import { Frames, served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

/** How long each turn is held up. */
const DELAY_MS = 10_000

/** A store that takes no events while it is slow. */
class SlowStore extends MemoryStore {
  gate: Promise<void> | undefined

  override async appendEvents(...given: Parameters<MemoryStore['appendEvents']>): Promise<void> {
    await this.gate
    return super.appendEvents(...given)
  }
}

interface Scene {
  all: ServedFakes
  store: SlowStore
  /** The process of the turn, once it has one. */
  process: () => Promise<FakeProcess>
}

const say = (process: FakeProcess, message: object): void =>
  process.say({ parent_tool_use_id: null, session_id: 's', uuid: 'u', ...message } as unknown as SDKMessage)

const init = (process: FakeProcess): void => say(process, { type: 'system', subtype: 'init' })

/** Puts a turn that was sent into a phase, and returns what lets it go on to its end. */
type Hold = (scene: Scene) => Promise<() => unknown>

const answered = async ({ process, all }: Scene): Promise<FakeProcess> => {
  const started = await process()
  await all.driver.until(() => started.unanswered === 1)
  return started
}

const HOLDS: Record<TurnPhaseName, Hold> = {
  // Another turn has the only place: see `before`.
  queued: async ({ all }) => {
    const other = await all.driver.process(0)
    return () => other.finish()
  },
  starting: async ({ process }) => {
    const started = await process()
    return () => started.becomeReady()
  },
  prompt: async (scene) => {
    const process = await answered(scene)
    return () => init(process)
  },
  model: async (scene) => {
    const process = await answered(scene)
    init(process)
    return () => undefined
  },
  tool: async (scene) => {
    const process = await answered(scene)
    init(process)
    const call = { type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'make' } }
    say(process, { type: 'assistant', message: { id: 'm', role: 'assistant', content: [call], usage: {} } })
    return () => undefined
  },
  permission: async (scene) => {
    const process = await answered(scene)
    init(process)
    const asked = { signal: new AbortController().signal, toolUseID: 'toolu_1', requestId: 'r' }
    void process.spec.options.canUseTool?.('Bash', { command: 'make' }, asked)
    await scene.all.driver.until(() => scene.all.pool.turns().some(({ phase }) => phase.name === 'permission'))
    return () => answer.resolve()
  },
  reader: async (scene) => {
    const process = await answered(scene)
    init(process)
    process.heldBack = true
    return () => (process.heldBack = false)
  },
  saving: async (scene) => {
    const process = await answered(scene)
    init(process)
    const gate = Promise.withResolvers<void>()
    scene.store.gate = gate.promise
    process.finish()
    return () => {
      scene.store.gate = undefined
      gate.resolve()
    }
  },
}

let answer = Promise.withResolvers<void>()

/** The sum of a phase in the text of `/metrics`, in seconds. */
const secondsOf = (text: string, phase: string): number =>
  Number(new RegExp(`^claude_agent_pool_turn_phase_seconds_sum\\{phase="${phase}"\\} (.*)$`, 'm').exec(text)?.[1] ?? 0)

const PHASES = Object.keys(HOLDS) as TurnPhaseName[]

test.each(PHASES)('A turn that is slow because of "%s": page, list, metric and log line say so', async (phase) => {
  answer = Promise.withResolvers()
  const store = new SlowStore()
  const lines: { message: string; facts: object }[] = []
  const line = (message: string, facts: object): void => void lines.push({ message, facts })
  const canUseTool = async (): Promise<{ behavior: 'deny'; message: string }> => {
    await answer.promise
    return { behavior: 'deny', message: 'no' }
  }
  const options: TestPoolOptions = {
    store,
    limits: { turns: 1 },
    admission: { mode: 'wait', timeout: '1h' },
    agents: { assistant: { spares: { max: 0 }, unboundSpares: { max: 0 }, canUseTool } },
    logger: { debug: line, info: line, warn: line, error: line },
  }
  const all = await served({}, options)
  const { pool, driver, clock, ask } = all
  driver.onStart = (process) => {
    process.answersAtOnce = false
    process.readyAtOnce = phase !== 'starting'
  }
  const before = phase === 'queued' ? 1 : 0
  if (before === 1) {
    void (await all.session('before')).send('go').result
    await driver.until(() => driver.processes[0]?.unanswered === 1)
  }
  const turn = (await all.session('slow')).send('go')
  const goOn = await HOLDS[phase]({ all, store, process: () => driver.process(before) })
  const list = { search: 'slow', sort: 'phase', descending: false, offset: 0, limit: 5 }
  const view = { list, session: { tenant: 'default', key: 'slow' } }
  const page = new Frames(
    await ask('GET', `/page/stream?view=${encodeURIComponent(JSON.stringify(view))}`, {
      headers: { 'x-claude-agent-pool-page': '1' },
    }),
  )
  await clock.advance(DELAY_MS)

  const shown: { turn: TurnPhaseName | undefined; row: TurnPhaseName | undefined } = { turn: undefined, row: undefined }
  while (shown.turn === undefined || shown.row === undefined) {
    await clock.advance(250)
    const { sections = {} } = ((await page.next())?.data ?? {}) as Delta
    const running = sections.session?.set?.['turn'] as { phase: { name: TurnPhaseName } } | null | undefined
    const row = sections.list?.set?.['default\0slow'] as { phase?: { name: TurnPhaseName } } | undefined
    shown.turn ??= running?.phase.name
    shown.row ??= row?.phase?.name
  }
  const { value } = await operate(pool, { do: 'list', page: {} }, (async function* () {})()).next()
  const listed = (value as SessionInfo[]).find(({ key }) => key === 'slow')?.phase?.name
  expect({ ...shown, listed }).toEqual({ turn: phase, row: phase, listed: phase })

  goOn()
  const process = await driver.process(before)
  await driver.until(() => process.unanswered === 1 || phase === 'saving')
  if (phase !== 'saving') process.finish()
  await turn.result
  await page.leave()
  await clock.settle()
  const ended = lines.find(
    ({ message, facts }) => message === 'turn ended' && (facts as { session: { key: string } }).session.key === 'slow',
  )
  const { phases } = (ended as { facts: { phases: Record<TurnPhaseName, number> } }).facts
  const most = (of: (name: TurnPhaseName) => number): TurnPhaseName | undefined =>
    PHASES.toSorted((a, b) => of(b) - of(a))[0]
  expect(most((name) => phases[name])).toBe(phase)
  expect(phases[phase]).toBeGreaterThanOrEqual(DELAY_MS)
  const metrics = await (await ask('GET', '/metrics')).text()
  // The turn before it has spent as long in another phase.
  if (phase !== 'queued') expect(most((name) => secondsOf(metrics, name))).toBe(phase)
  expect(secondsOf(metrics, phase)).toBeGreaterThanOrEqual(DELAY_MS / 1_000)
})
