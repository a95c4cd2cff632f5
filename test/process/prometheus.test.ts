import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as nextTurnOfTheLoop } from 'node:timers/promises'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { expect, onTestFinished, test, vi } from 'vitest'
import { StartError, StoreError } from '../../src/errors.ts'
import type { SDKMessage } from '../../src/driver/driver.ts'
import { DataDir } from '../../src/store/data-dir.ts'
import { MemoryStore } from '../../src/testing/index.ts'
import type { FakeProcess, TestPoolOptions } from '../../src/testing/index.ts'
import { NO_SPARES, outcome } from '../fixtures/fakes.ts'
import { hasPrometheus, Prometheus, samplesOf } from '../fixtures/prometheus.ts'
import { Frames, served } from '../fixtures/server.ts'
import type { ServedFakes } from '../fixtures/server.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { post, serve } from '../http/serving.ts'
import type { Serving } from '../http/serving.ts'

const deploy = join(import.meta.dirname, '../../deploy')

interface Rule {
  alert: string
  annotations: { runbook: string }
}

async function rules(): Promise<Rule[]> {
  const { groups } = parse(await readFile(join(deploy, 'prometheus/alerts.yaml'), 'utf8')) as {
    groups: { rules: Rule[] }[]
  }
  return groups.flatMap((group) => group.rules)
}

/** A host in a state, as it changes from minute to minute. */
interface State {
  options?: TestPoolOptions
  /** What follows from it. */
  also?: readonly string[]
  minute: (all: ServedFakes, minute: number) => Promise<void>
}

const said = (fields: object): SDKMessage => ({ parent_tool_use_id: null, ...fields }) as unknown as SDKMessage

/** A process with a turn that the test drives. */
async function asked({ session, driver }: ServedFakes, key: string): Promise<FakeProcess> {
  driver.onStart = (process) => (process.answersAtOnce = false)
  const running = (await session(key)).send('go')
  running.result.catch(() => undefined)
  const process = (): FakeProcess | undefined => driver.living.find(({ unanswered }) => unanswered > 0)
  await driver.until(() => process() !== undefined)
  const found = process() as FakeProcess
  found.say(said({ type: 'system', subtype: 'init', session_id: 's' }))
  return found
}

/** Resolves once Node has measured the delay of its event loop as often as it takes to have a first figure. */
async function delayMeasured(): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 50 })
  delay.enable()
  while (delay.count < 1) await nextTurnOfTheLoop()
  delay.disable()
}

class FailingStore extends MemoryStore {
  override async put(): Promise<never> {
    throw new StoreError('the disk is full', { code: 'disk_full' })
  }
}

const MINUTES = 16

const ONE_LONG_TURN = { turns: 1, turnTimeout: 'none', inactivityTimeout: 'none' }

const TURNS_FAIL = ['ClaudeAgentPoolTurnsFail']

const STATES: Record<string, State> = {
  ClaudeAgentPoolRefusesTurns: {
    options: { limits: ONE_LONG_TURN },
    async minute(all, minute) {
      if (minute === 0) await asked(all, 'long')
      await outcome((await all.session('other')).send('go'))
    },
  },
  ClaudeAgentPoolTurnsWait: {
    options: { limits: ONE_LONG_TURN, admission: { mode: 'wait', timeout: '1h' } },
    async minute(all, minute) {
      if (minute > 0) return
      await asked(all, 'long')
      ;(await all.session('other')).send('go').result.catch(() => undefined)
    },
  },
  ClaudeAgentPoolTurnsFail: {
    async minute(all, minute) {
      const process = await asked(all, 'one')
      process.finish(minute % 5 === 0 ? { subtype: 'error_during_execution' } : {})
    },
  },
  ClaudeAgentPoolModelSlow: {
    async minute(all) {
      const process = await asked(all, 'one')
      await all.clock.advance(30_000)
      const piece = (event: object): void => process.say(said({ type: 'stream_event', event }))
      piece({ type: 'message_start', message: { id: 'm', model: 'claude-x', usage: {} } })
      piece({ type: 'content_block_start', content_block: { type: 'text' } })
      piece({ type: 'message_stop' })
      process.finish()
    },
  },
  ClaudeAgentPoolModelFails: {
    async minute(all) {
      const process = await asked(all, 'one')
      process.say(said({ type: 'system', subtype: 'api_retry', error: 'overloaded' }))
      process.sayText('at last')
      process.finish()
    },
  },
  ClaudeAgentPoolMemoryPressure: {
    async minute({ memory }) {
      memory.othersBytes = memory.limitBytes - 2 ** 20
    },
  },
  ClaudeAgentPoolOutOfMemoryKills: {
    async minute(all, minute) {
      if (minute === 8)
        (await asked(all, 'one')).exit({ cause: 'out_of_memory', exitCode: null, signal: 'SIGKILL', stderr: '' })
    },
  },
  ClaudeAgentPoolStartsFail: {
    also: TURNS_FAIL,
    async minute({ driver, session }, minute) {
      driver.onStart = (process) => {
        process.readyAtOnce = false
        process.failToStart(new StartError('initialize', 'no'))
      }
      if (minute > 8) await outcome((await session(`s${minute}`)).send('go'))
    },
  },
  ClaudeAgentPoolProcessesLeft: {
    async minute({ driver, session }, minute) {
      driver.onStart = (process) => {
        const terminate = process.terminate.bind(process)
        process.terminate = async (graces) => ({ ...(await terminate(graces)), left: 1 })
      }
      if (minute !== 10) return
      await (await session('one')).send('go').result
      await (await session('one')).hibernate()
    },
  },
  ClaudeAgentPoolStoreTrouble: {
    also: TURNS_FAIL,
    options: { store: new FailingStore() },
    async minute({ session }) {
      await outcome((await session('one')).send('go'))
    },
  },
  ClaudeAgentPoolDiskLow: {
    async minute() {
      vi.spyOn(DataDir.prototype, 'checkDisk').mockResolvedValue({ freeBytes: 2 ** 30, trouble: undefined })
    },
  },
  ClaudeAgentPoolTranscriptsNotCopied: {
    async minute(all, minute) {
      if (minute !== 8) return
      const process = await asked(all, 'one')
      process.say(said({ type: 'system', subtype: 'mirror_error', error: 'the store is away' }))
      process.finish()
    },
  },
  ClaudeAgentPoolEventLoopBlocked: {
    async minute() {
      // Node measures between two of its own timers.
      await delayMeasured()
      for (const begun = performance.now(); performance.now() - begun < 300;);
      await delayMeasured()
    },
  },
}

/** What Prometheus would have of a host, scraped once a minute. */
async function recorded({ options = {}, minute }: State): Promise<{ series: string; values: string }[]> {
  const all = await served({}, { agents: { assistant: NO_SPARES }, ...options })
  const scrapes: Map<string, number>[] = []
  for (let at = 0; at < MINUTES; at += 1) {
    await minute(all, at)
    await all.clock.settle()
    scrapes.push(samplesOf(await (await all.ask('GET', '/metrics')).text()))
    await all.clock.advance(60_000)
  }
  const names = new Set(scrapes.flatMap((scrape) => [...scrape.keys()]))
  return Array.from(names, (name) => ({
    series: labelled(name),
    values: scrapes.map((scrape) => scrape.get(name) ?? '_').join(' '),
  }))
}

/** As a scrape labels it. */
function labelled(series: string): string {
  const target = 'job="claude-agent-pool",instance="host"'
  const at = series.indexOf('{')
  return at === -1 ? `${series}{${target}}` : `${series.slice(0, at)}{${target},${series.slice(at + 1)}`
}

/** The alerts that fire at the end of these series. */
async function firing(series: { series: string; values: string }[]): Promise<string[]> {
  const folder = await temporaryFolder()
  const file = join(folder, 'test.json')
  const expr = 'sum by (alertname) (ALERTS{alertstate="firing"})'
  const asks = { expr, eval_time: `${MINUTES - 1}m`, exp_samples: [{ labels: '{alertname="asked"}', value: 0 }] }
  const suite = {
    rule_files: [join(deploy, 'prometheus/alerts.yaml')],
    evaluation_interval: '1m',
    tests: [{ interval: '1m', input_series: series, promql_expr_test: [asks] }],
  }
  await writeFile(file, JSON.stringify(suite))
  // What is expected is nothing that can be: promtool then tells what there is.
  const { stdout, stderr } = await promisify(execFile)('promtool', ['test', 'rules', file]).catch(
    (failure: { stdout: string; stderr: string }) => failure,
  )
  const got = /got:(.*)/s.exec(stdout + stderr)?.[1]
  if (got === undefined) throw new Error(`promtool says: ${stdout}${stderr}`)
  return Array.from(got.matchAll(/alertname="(\w+)"/g), ([, name = '']) => name)
}

test.skipIf(!hasPrometheus).each(Object.keys(STATES))(
  'On what a host in its state exports, this alert fires, and no other one: %s (needs promtool)',
  async (alert) => {
    const state = STATES[alert] as State
    onTestFinished(() => void vi.restoreAllMocks())
    expect(await firing(await recorded(state))).toEqual([alert, ...(state.also ?? [])])
  },
)

test.skipIf(!hasPrometheus)(
  'A host that is at work is no reason for an alert, and one that does not answer is (needs promtool)',
  async () => {
    const quiet = await recorded({
      async minute({ session }) {
        await (await session('one')).send('go').result
      },
    })
    expect(await firing(quiet)).toEqual([])
    const up = { series: 'up{job="claude-agent-pool",instance="host"}', values: `1 0x${MINUTES}` }
    expect(await firing([...quiet, up])).toEqual(['ClaudeAgentPoolDown'])
  },
)

test('Each alert is tested, and has its words in the runbook', async () => {
  const runbook = await readFile(join(deploy, '../docs/operations.md'), 'utf8')
  const all = await rules()
  expect(all.map(({ alert }) => alert).toSorted()).toEqual(['ClaudeAgentPoolDown', ...Object.keys(STATES)].toSorted())
  for (const { alert, annotations } of all) {
    expect(annotations.runbook).toBe(`docs/operations.md#${alert.toLowerCase()}`)
    expect(runbook).toContain(`### ${alert}\n`)
  }
})

/** What Grafana puts in place of its variables. */
const asGrafanaAsks = (query: string): string =>
  query.replaceAll('$__rate_interval', '1m').replaceAll('"$instance"', '".*"')

/** One turn that runs, one that is refused, and a process that ends. */
async function work(serving: Serving, round: number): Promise<void> {
  const key = `s${round}`
  const long = await post(serving, key, '@sim delay 300\n@sim say done')
  await (await post(serving, 'other', 'hello')).text()
  await new Frames(long).rest()
}

const CONFIG = `
agents: { a: { spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5 } }
limits: { turns: 1 }
admission: { mode: shed }
residency: { maxTurnsPerWorker: 1 }
`

test.skipIf(!hasPrometheus)(
  'Each panel of the dashboard shows figures of a live server (needs prometheus)',
  async () => {
    const serving = await serve(CONFIG)
    const { panels } = JSON.parse(await readFile(join(deploy, 'grafana/dashboard.json'), 'utf8')) as {
      panels: { title: string; targets?: { expr: string }[] }[]
    }
    const prometheus = await Prometheus.start(new URL(serving.url).host)
    const empty = async (): Promise<string[]> => {
      const titles: string[] = []
      for (const { title, targets = [] } of panels)
        for (const { expr } of targets)
          if (!(await prometheus.query(asGrafanaAsks(expr))).some((value) => Number.isFinite(value))) titles.push(title)
      return titles
    }
    let round = 0
    // A counter has a rate once it has grown between two scrapes.
    await expect
      .poll(
        async () => {
          await work(serving, (round += 1))
          return empty()
        },
        { timeout: 50_000, interval: 500 },
      )
      .toEqual([])
  },
)
