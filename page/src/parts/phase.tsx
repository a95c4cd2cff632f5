import type { PhaseSpan, PhaseTimes, TurnPhase, TurnPhaseName } from '../../../src/server/page/wire.ts'
import { age, duration } from '../format.ts'
import { now } from '../state.ts'

export const PHASES: readonly TurnPhaseName[] = [
  'queued',
  'starting',
  'prompt',
  'model',
  'tool',
  'permission',
  'reader',
  'saving',
]

/** What a turn does, and since when. */
export function Phase({ phase }: { phase: TurnPhase | undefined }) {
  if (phase === undefined) return <span class="quiet">–</span>
  return (
    <span class="phase">
      <span class={`swatch ${phase.name}`} aria-hidden="true" />
      <span class="phase-name">
        {phase.name}
        {phase.detail !== undefined && <> {phase.detail}</>}
      </span>{' '}
      <span class="quiet figure">{age(Math.max(0, now.value - phase.since))}</span>
    </span>
  )
}

/** Parts of a whole as a bar, and in words below. */
export function Parts({
  parts,
  total,
  label,
  format,
}: {
  parts: readonly { name: string; value: number; swatch: string }[]
  total?: number
  label: string
  format: (value: number) => string
}) {
  const shown = parts.filter(({ value }) => value > 0)
  const sum = Math.max(
    total ?? 0,
    shown.reduce((all, { value }) => all + value, 0),
  )
  const words = shown.map(({ name, value }) => `${name} ${format(value)}`).join(', ')
  return (
    <figure class="parts">
      <div class="bar" role="img" aria-label={`${label}: ${words === '' ? 'nothing' : words}`}>
        {shown.map(({ name, value, swatch }) => (
          <span
            key={name}
            class={swatch}
            style={{ width: `${(value / sum) * 100}%` }}
            title={`${name} ${format(value)}`}
          />
        ))}
      </div>
      <figcaption aria-hidden="true">
        {shown.map(({ name, value, swatch }) => (
          <span key={name} class="key">
            <span class={`swatch ${swatch}`} /> {name} <b>{format(value)}</b>
          </span>
        ))}
        {shown.length === 0 && <span class="quiet">nothing yet</span>}
      </figcaption>
    </figure>
  )
}

const spanWords = ({ name, detail, ms }: PhaseSpan): string =>
  `${detail === undefined ? name : `${name} ${detail}`} ${duration(ms)}`

/** The phases of one turn in their order. `scaleMs`: what the whole width stands for. */
export function Waterfall({ timeline, scaleMs }: { timeline: readonly PhaseSpan[]; scaleMs: number }) {
  const words = timeline.map(spanWords).join(', ')
  return (
    <div class="bar waterfall" role="img" aria-label={`Phases in their order: ${words}`}>
      {timeline.map((span, index) => (
        <span
          key={index}
          class={span.name}
          style={{ width: `${(span.ms / scaleMs) * 100}%` }}
          title={spanWords(span)}
        />
      ))}
    </div>
  )
}

/** The sum of each phase in words, the longest first. */
export function PhaseSums({ phases }: { phases: PhaseTimes }) {
  const sums = PHASES.map((name) => ({ name, ms: phases[name] }))
    .filter(({ ms }) => ms >= 1)
    .toSorted((a, b) => b.ms - a.ms)
  return (
    <p class="sums">
      {sums.map(({ name, ms }) => (
        <span key={name} class="key">
          <span class={`swatch ${name}`} aria-hidden="true" /> {name} <b>{duration(ms)}</b>
        </span>
      ))}
    </p>
  )
}
