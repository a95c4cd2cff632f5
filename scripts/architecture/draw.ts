import { Graphviz } from '@hpcc-js/wasm-graphviz'
import type { Edge, House, Room } from './rooms.ts'

const STYLE = `
  .page { fill: #ffffff } text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .room path { fill: #ddf4ff; stroke: #0969da } .entry path { fill: #f6f8fa; stroke: #59636e }
  .port path { fill: #fff8c5; stroke: #9a6700 } .ground { fill: #f6f8fa; stroke: #d1d9e0 }
  .edge path, .key path { fill: none; stroke: #3d444d; stroke-width: 1.6 } .edge polygon, .key polygon { fill: #3d444d; stroke: none }
  .types path { stroke-dasharray: 5 3 }
  .implied path { stroke: #b1bac4; stroke-width: 1.2 } .implied polygon { fill: #b1bac4 }
  .climbs path { stroke: #cf222e; stroke-width: 2.4 } .climbs polygon { fill: #cf222e }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #f0f6fc }
    .room path { fill: #12253d; stroke: #4493f8 } .entry path { fill: #151b23; stroke: #9198a1 }
    .port path { fill: #2e2a1f; stroke: #d29922 } .ground { fill: #151b23; stroke: #3d444d }
    .edge path, .key path { stroke: #b7bdc8 } .edge polygon, .key polygon { fill: #b7bdc8 }
    .implied path { stroke: #4b535d } .implied polygon { fill: #4b535d }
    .climbs path { stroke: #f85149 } .climbs polygon { fill: #f85149 }
  }`

const LEGEND: readonly [classes: string, text: string][] = [
  ['', 'imports'],
  ['types', 'imports types only'],
  ['implied', 'imports, and also through another room'],
]
const CLIMBS: readonly [classes: string, text: string] = ['climbs', 'imports against the order']

const MARGIN = 16
const GROUND_HEIGHT = 64
const LEGEND_HEIGHT = 44

/** An SVG of the rooms, in which imports point down. The same house always gives the same text. */
export async function draw(house: House): Promise<string> {
  const graphviz = await Graphviz.load()
  const svg = graphviz.dot(dotOf(house), 'svg')
  const size = /viewBox="0\.00 0\.00 ([\d.]+) ([\d.]+)"/.exec(svg)
  const start = svg.indexOf('<g id="graph0"')
  if (size === null || start === -1) throw new Error('graphviz answered with another SVG than expected')
  const [graphWidth, graphHeight] = [Math.ceil(Number(size[1])), Math.ceil(Number(size[2]))]
  const width = Math.max(graphWidth, 980) + 2 * MARGIN
  const groundTop = graphHeight + MARGIN + 8
  const height = groundTop + GROUND_HEIGHT + LEGEND_HEIGHT + MARGIN
  const graph = svg
    .slice(start, svg.lastIndexOf('</svg>'))
    .replaceAll(/ id="[^"]*"/g, '')
    .replaceAll(/ (?:font-family|fill|stroke|stroke-dasharray)="[^"]*"/g, '')
    .replaceAll(/<!--.*?-->\n/g, '')
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    '<title>The rooms of src and what each imports</title>',
    `<style>${STYLE}\n</style>`,
    `<rect class="page" width="${width}" height="${height}"/>`,
    `<g transform="translate(${(width - graphWidth) / 2} ${MARGIN})">`,
    graph.trim(),
    '</g>',
    ground(house, groundTop, width),
    legend(house, groundTop + GROUND_HEIGHT + LEGEND_HEIGHT / 2 + 6),
    '</svg>',
  ].join('\n')}\n`
}

function dotOf({ rooms, edges }: House): string {
  return [
    'digraph {',
    'graph [rankdir=TB nodesep=0.14 ranksep=0.5 bgcolor=transparent]',
    'node [shape=box style="rounded,filled" fontname=Helvetica fontsize=20 margin="0.12,0.08" height=0.5]',
    'edge [arrowsize=0.8]',
    ...rooms.map(nodeOf),
    ...edges.map(edgeOf),
    '}',
  ].join('\n')
}

const nodeOf = ({ name, kind }: Room): string => `"${name}" [class="${kind}" width=${widthOf(name)}]`

/** Wide enough for any sans-serif font, in inches. */
const widthOf = (name: string): number => Math.max(1, Math.round(name.length * 16) / 100 + 0.3)

function edgeOf({ from, to, typesOnly, implied, climbs }: Edge): string {
  const classes = [typesOnly && 'types', implied && 'implied', climbs && 'climbs'].filter(Boolean).join(' ')
  // A climbing edge points up only if it does not take part in the order.
  return `"${from}" -> "${to}" [class="${classes}"${climbs ? ' constraint=false' : ''} weight=${implied ? 1 : 4}]`
}

function ground({ ground: files }: House, top: number, width: number): string {
  const names = files.map((file) => file.replace(/\.ts$/, '')).join(' · ')
  return [
    `<rect class="ground" x="${MARGIN}" y="${top}" width="${width - 2 * MARGIN}" height="${GROUND_HEIGHT}" rx="6"/>`,
    `<text x="${width / 2}" y="${top + 28}" text-anchor="middle" font-size="20">${names}</text>`,
    `<text x="${width / 2}" y="${top + 50}" text-anchor="middle" font-size="16">files of src itself, which every room may import</text>`,
  ].join('\n')
}

function legend({ edges }: House, y: number): string {
  const rows = edges.some(({ climbs }) => climbs) ? [...LEGEND, CLIMBS] : LEGEND
  let x = MARGIN
  return rows
    .map(([classes, text]) => {
      const at = x
      x += 60 + text.length * 8.4
      return [
        `<g class="key ${classes}"><path d="M${at},${y - 5}h28"/><polygon points="${at + 34},${y - 5} ${at + 25},${y - 10} ${at + 25},${y}"/></g>`,
        `<text x="${at + 40}" y="${y}" font-size="16">${text}</text>`,
      ].join('\n')
    })
    .join('\n')
}
