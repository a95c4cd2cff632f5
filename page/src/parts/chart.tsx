import { useEffect, useRef } from 'preact/hooks'
import type { Sample } from '../../../src/server/page/wire.ts'
import type { Plot, Series } from './plot.ts'

/** Figures of the last ten minutes. Below, for those who do not see it, the newest. */
export function Chart({
  samples,
  series,
  label,
  format,
}: {
  samples: readonly Sample[]
  series: readonly Series[]
  label: string
  format: (value: number) => string
}) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<Plot>(undefined)
  const newest = useRef(samples)
  useEffect(() => {
    let left = false
    const draw = async (): Promise<void> => {
      const { Plot: Drawn } = await import('./plot.ts')
      if (!left && place.current !== null) plot.current = new Drawn(place.current, series, format, newest.current)
    }
    // The figures above the plot are there without it, too.
    draw().catch(() => undefined)
    return () => {
      left = true
      plot.current?.close()
    }
  }, [])
  useEffect(() => {
    newest.current = samples
    plot.current?.show(samples)
  }, [samples])
  const last = samples.at(-1)
  return (
    <figure class="chart">
      <figcaption>
        {series.map((each) => (
          <span key={each.label} class="key">
            <span class={`swatch ${each.colour.slice(2)}`} aria-hidden="true" /> {each.label}{' '}
            <b>{last === undefined ? '–' : format(each.value(last))}</b>
          </span>
        ))}
        <span class="quiet">last ten minutes</span>
      </figcaption>
      <div ref={place} role="img" aria-label={label} />
    </figure>
  )
}
