import type { TurnInfo, TurnStep, TurnSummary } from '../../index.ts'
import type { ModelFigures, PhaseSpan, RunningTurn, ShownTurn } from './wire.ts'

/** A turn of an agent that calls thousands of tools is shown with so many. Even, for spans are joined in pairs. */
const MAX_SPANS = 64

/** The phases of a turn one after the other. Of more than 64, neighbours become one, named after the longer. */
export function timelineOf(steps: readonly TurnStep[]): PhaseSpan[] {
  let spans: PhaseSpan[] = []
  for (const step of steps) {
    if (step.type !== 'phase') continue
    const { name, detail, durationMs: ms } = step
    spans.push({ name, ms, ...(detail === undefined ? {} : { detail }) })
    if (spans.length > MAX_SPANS) spans = inPairs(spans)
  }
  return spans
}

/** Of all requests that a turn has made so far. */
function figuresOf(steps: readonly TurnStep[]): ModelFigures | undefined {
  const requests = steps.filter((step) => step.type === 'model')
  if (requests.length === 0) return undefined
  const firsts = requests.flatMap(({ firstTokenMs }) => firstTokenMs ?? [])
  const output = requests.reduce((sum, { tokens }) => sum + tokens.output, 0)
  const spentMs = requests.reduce((sum, { durationMs }) => sum + durationMs, 0)
  return {
    requests: requests.length,
    failed: requests.filter(({ failed }) => failed).length,
    firstTokenMs: firsts.length === 0 ? undefined : firsts.reduce((sum, ms) => sum + ms, 0) / firsts.length,
    tokensPerSecond: spentMs === 0 ? undefined : output / (spentMs / 1_000),
  }
}

/** An ended turn, as the page shows it. */
export function shownTurn({ session: _, steps, traceparent: __, sdkSessionId: ___, ...turn }: TurnSummary): ShownTurn {
  return { ...turn, timeline: timelineOf(steps), model: figuresOf(steps) }
}

/** The turn that runs: its present phase ends the timeline. */
export function runningTurn({ steps, phase, ...turn }: TurnInfo, now: number): RunningTurn {
  const { since, ...named } = phase
  const timeline = [...timelineOf(steps), { ...named, ms: Math.max(0, now - since) }]
  return { ...turn, phase, timeline, model: figuresOf(steps) }
}

const joined = (one: PhaseSpan, two: PhaseSpan | undefined): PhaseSpan =>
  two === undefined ? one : { ...(two.ms > one.ms ? two : one), ms: one.ms + two.ms }

function inPairs(spans: readonly PhaseSpan[]): PhaseSpan[] {
  const half: PhaseSpan[] = []
  for (let index = 0; index < spans.length; index += 2) half.push(joined(spans[index] as PhaseSpan, spans[index + 1]))
  return half
}
