import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { timeOfDay } from '../format.ts'
import type { Sample } from '../../../src/server/page/wire.ts'

interface Series {
  label: string
  /** A custom property with its colour. */
  colour: string
  value: (sample: Sample) => number
}

const HEIGHT = 132

const SHORTEST_S = 60

const colourOf = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

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
  const plot = useRef<uPlot>(undefined)
  useEffect(() => {
    const target = place.current
    if (target === null) return
    const draw = (): void => {
      plot.current?.destroy()
      plot.current = new uPlot(optionsOf(series, format, target.clientWidth), dataOf(samples, series), target)
    }
    draw()
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: target.clientWidth, height: HEIGHT }))
    resized.observe(target)
    // A canvas does not follow the colours of the page by itself.
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', draw)
    return () => {
      dark.removeEventListener('change', draw)
      resized.disconnect()
      plot.current?.destroy()
    }
  }, [])
  useEffect(() => plot.current?.setData(dataOf(samples, series)), [samples])
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

const dataOf = (samples: readonly Sample[], series: readonly Series[]): uPlot.AlignedData => [
  samples.map(({ at }) => at / 1_000),
  ...series.map(({ value }) => samples.map(value)),
]

function optionsOf(series: readonly Series[], format: (value: number) => string, width: number): uPlot.Options {
  const [text, grid] = [colourOf('--quiet'), colourOf('--line')]
  const font = '11px system-ui, sans-serif'
  const axis = { stroke: text, font, ticks: { show: false }, grid: { stroke: grid, width: 1 } }
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 4, 0, 0],
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 90,
        size: 26,
        values: (_, values) => values.map((value) => timeOfDay(value * 1_000)),
      },
      {
        ...axis,
        size: 62,
        space: 34,
        values: (_, values) => values.map((value) => (value === null ? '' : format(value))),
      },
    ],
    scales: {
      // The first points would else fill years.
      x: { range: (_, min, max) => [Math.min(min, max - SHORTEST_S), max] },
      y: { range: (_, __, max) => [0, Math.max(max, 1) * 1.1] },
    },
    series: [
      {},
      ...series.map(({ label, colour }) => ({
        label,
        stroke: colourOf(colour),
        fill: `color-mix(in srgb, ${colourOf(colour)} 14%, transparent)`,
        width: 1.5,
        points: { show: false },
      })),
    ],
  }
}
