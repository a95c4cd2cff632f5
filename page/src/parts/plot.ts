import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { timeOfDay } from '../format.ts'
import type { Sample } from '../../../src/server/page/wire.ts'

export interface Series {
  label: string
  /** A custom property with its colour. */
  colour: string
  value: (sample: Sample) => number
}

const HEIGHT = 132

const SHORTEST_S = 60

const colourOf = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** Draws figures over time into an element, in its width and in the colours of the page. */
export class Plot {
  readonly #series: readonly Series[]
  readonly #draw: () => void
  readonly #resized: ResizeObserver
  readonly #dark = matchMedia('(prefers-color-scheme: dark)')
  #samples: readonly Sample[]
  #plot: uPlot

  constructor(
    target: HTMLElement,
    series: readonly Series[],
    format: (value: number) => string,
    samples: readonly Sample[],
  ) {
    this.#series = series
    this.#samples = samples
    const drawn = (): uPlot =>
      new uPlot(optionsOf(series, format, target.clientWidth), dataOf(this.#samples, series), target)
    this.#plot = drawn()
    this.#draw = () => {
      this.#plot.destroy()
      this.#plot = drawn()
    }
    // A canvas does not follow the colours of the page by itself.
    this.#dark.addEventListener('change', this.#draw)
    this.#resized = new ResizeObserver(() => this.#plot.setSize({ width: target.clientWidth, height: HEIGHT }))
    this.#resized.observe(target)
  }

  show(samples: readonly Sample[]): void {
    this.#samples = samples
    this.#plot.setData(dataOf(samples, this.#series))
  }

  close(): void {
    this.#dark.removeEventListener('change', this.#draw)
    this.#resized.disconnect()
    this.#plot.destroy()
  }
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
