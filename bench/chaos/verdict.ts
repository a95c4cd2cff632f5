import { globSync, readFileSync } from 'node:fs'
import type { OwnServer } from '../../test/fixtures/postgres-server.ts'
import type { Happened } from './faults.ts'
import type { Talker } from './talker.ts'

/** A machine that was paused may run a process for one tick of its sentinel, and a busy one is late. */
const TICK_MS = 150

export interface Evidence {
  server: OwnServer
  schema: string
  talkers: readonly Talker[]
  happened: readonly Happened[]
  /** With the folders of the hosts. */
  dir: string
  processesLeft: number
}

/** What a run has shown. All but the first two must be 0, or empty. */
export interface Verdict {
  acknowledged: number
  effects: number
  /** Acknowledged events that are not in the database. */
  lost: number
  /** Prompts that are there twice, and events that a client was shown with another number or id. */
  doubled: number
  /** Numbers that are missing within a session. */
  gaps: number
  /** Prompts that two shells have worked on. */
  twice: number
  /** Turns of one session that have acted at the same time. */
  overlaps: number
  /** Prompts that neither ran nor ended with a word on why, and turns without an end. */
  unended: string[]
  processesLeft: number
}

interface Row {
  key: string
  number: number
  event_id: string
  type: string
  at: number
  json: string
}

interface Effect {
  at: number
  shell: string
  word: string
}

export async function judge(evidence: Evidence): Promise<{ verdict: Verdict; silences: Silences }> {
  const rows = await evidence.server.query<Row>(
    `SELECT s.key, e.number::int, e.event_id, e.type, e.at::float8 AS at, e.json FROM "${evidence.schema}".events e
     JOIN "${evidence.schema}".sessions s ON s.id = e.session ORDER BY s.id, e.number`,
  )
  const bySession = Map.groupBy(rows, ({ key }) => key)
  const verdict: Verdict = {
    acknowledged: 0,
    effects: 0,
    lost: 0,
    doubled: 0,
    gaps: 0,
    twice: 0,
    overlaps: 0,
    unended: [],
    processesLeft: evidence.processesLeft,
  }
  const effects = Map.groupBy(effectsIn(evidence.dir), ({ word }) => word.split('-')[0])
  for (const talker of evidence.talkers) {
    const events = bySession.get(talker.session) ?? []
    judgeRecord(talker, events, verdict)
    judgeEffects(talker, effects.get(talker.name) ?? [], events, verdict)
  }
  return { verdict, silences: silencesOf(evidence, bySession) }
}

export const isClean = ({ acknowledged, effects, ...wrong }: Verdict): boolean =>
  acknowledged > 0 &&
  effects > 0 &&
  Object.values(wrong).every((value) => value === 0 || (Array.isArray(value) && value.length === 0))

function judgeRecord({ sent, shown, problems }: Talker, events: readonly Row[], verdict: Verdict): void {
  const byId = new Map(events.map((event) => [event.event_id, event]))
  const prompts = events.filter(({ type }) => type === 'user.message')
  verdict.acknowledged += sent.length
  for (const { word, id } of sent) {
    if (byId.get(id)?.json.includes(word) !== true) verdict.lost += 1
    verdict.doubled += Math.max(0, prompts.filter(({ json }) => json.includes(`${word}\\n`)).length - 1)
  }
  for (const [index, { number, id }] of shown.entries())
    if (byId.get(id)?.number !== number || number !== index + 1) verdict.doubled += 1
  verdict.gaps += (events.at(-1)?.number ?? 0) - events.length
  verdict.unended.push(...problems)
}

function judgeEffects({ sent }: Talker, effects: readonly Effect[], events: readonly Row[], verdict: Verdict): void {
  verdict.effects += effects.length
  const byWord = Map.groupBy(effects, ({ word }) => word)
  const spans: { first: number; last: number }[] = []
  for (const { word, id } of sent) {
    const own = byWord.get(word) ?? []
    if (new Set(own.map(({ shell }) => shell)).size > 1) verdict.twice += 1
    const [first] = own
    const last = own.at(-1)
    if (first !== undefined && last !== undefined) spans.push({ first: first.at, last: last.at })
    else if (!endsWithAWord(events, id)) verdict.unended.push(`${word} has not run, and nothing says why`)
  }
  const inOrder = spans.toSorted((a, b) => a.first - b.first)
  for (const [index, { first }] of inOrder.entries())
    if (index > 0 && first < (inOrder[index - 1]?.last ?? 0) - TICK_MS) verdict.overlaps += 1
}

/** True if an error or an interruption follows the prompt before the next one. */
function endsWithAWord(events: readonly Row[], id: string): boolean {
  const at = events.findIndex(({ event_id: own }) => own === id)
  const after = events.slice(at + 1)
  const next = after.findIndex(({ type }) => type === 'user.message')
  return (next === -1 ? after : after.slice(0, next)).some(({ type }) => type === 'session.error')
}

/** What the shells of all sessions wrote at all hosts, in the order of time. */
const effectsIn = (dir: string): Effect[] =>
  globSync(`${dir}/host-*/.claude-agent-pool/tenants/*/workspaces/*/effects`)
    .flatMap((path) => readFileSync(path, 'utf8').trim().split('\n'))
    .map((line) => line.split(' '))
    .map(([at = '', shell = '', word = '']) => ({ at: Number(at) * 1_000, shell, word }))
    .toSorted((a, b) => a.at - b.at)

/** Milliseconds from a fault to the next event of a session that ran, or from a prompt to its acknowledgement. */
export interface Silences {
  running: Record<string, number[]>
  unbegun: Record<string, number[]>
  idle: Record<string, number[]>
}

function silencesOf({ happened, talkers }: Evidence, bySession: ReadonlyMap<string, Row[]>): Silences {
  const silences: Silences = { running: {}, unbegun: {}, idle: {} }
  const bySessionId = new Map(talkers.map((talker) => [talker.session, talker]))
  for (const { fault, at, running, idle } of happened) {
    const ofRunning = (silences.running[fault] ??= [])
    const ofUnbegun = (silences.unbegun[fault] ??= [])
    for (const key of running) {
      const next = bySession.get(key)?.find((event) => event.at > at)
      // A prompt that had not begun is written again when it begins: its process has to start first.
      if (next === undefined) continue
      if (next.type === 'user.message') ofUnbegun.push(next.at - at)
      else ofRunning.push(next.at - at)
    }
    const ofIdle = (silences.idle[fault] ??= [])
    for (const key of idle) {
      const next = bySessionId.get(key)?.sent.find(({ sentAt }) => sentAt >= at && sentAt < at + 2_500)
      if (next !== undefined) ofIdle.push(next.acknowledgedAt - next.sentAt)
    }
  }
  return silences
}
