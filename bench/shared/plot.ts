interface Point {
  traffic: string
  memoryGiB: number
  pattern: string
  liveRatio: number
}

const COLUMNS = 3
const PANEL = { width: 240, height: 170, left: 46, top: 44, gapX: 62, gapY: 80 }

/** How each pattern is drawn; dashes tell them apart without colours. Whoever comes last lies on top. */
const STROKES: Record<string, { colour: string; width: number; dash: string }> = {
  single: { colour: '#9a9a9a', width: 1.5, dash: '1.5 3' },
  ephemeral: { colour: '#b07aa1', width: 1.5, dash: '6 3' },
  hybrid: { colour: '#e08a1e', width: 2, dash: '7 3 2 3' },
  'long-running': { colour: '#2f6fb0', width: 2, dash: '4 2' },
  adaptive: { colour: '#1a7f4b', width: 2.8, dash: '' },
}

const stroke = (pattern: string): string => {
  const { colour, width, dash } = STROKES[pattern] ?? { colour: '#000', width: 1, dash: '' }
  return `stroke="${colour}" stroke-width="${width}"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}`
}

const round = (value: number): string => value.toFixed(1)

/** A panel for each traffic: the share of live turns over the memory that there is, a line for each pattern. */
export function plot(points: readonly Point[], patterns: readonly string[]): string {
  const traffics = [...new Set(points.map(({ traffic }) => traffic))]
  const memories = [...new Set(points.map(({ memoryGiB }) => memoryGiB))].toSorted((a, b) => a - b)
  const rows = Math.ceil((traffics.length + 1) / COLUMNS)
  const { left, top, gapX, gapY } = PANEL
  const width = left + COLUMNS * (PANEL.width + gapX)
  const height = top + rows * (PANEL.height + gapY)
  const place = (index: number): { x: number; y: number } => ({
    x: left + (index % COLUMNS) * (PANEL.width + gapX),
    y: top + Math.floor(index / COLUMNS) * (PANEL.height + gapY),
  })
  const panels = traffics.map((traffic, index) => {
    const shown = points.filter((point) => point.traffic === traffic)
    return panel({ name: traffic, points: shown, memories, patterns, ...place(index) })
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#333">`,
    `<title>Share of live turns over memory, for five traffics and five hosting patterns</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...panels,
    legend(patterns, place(traffics.length)),
    '</svg>',
    '',
  ].join('\n')
}

interface Panel {
  name: string
  points: readonly Point[]
  memories: readonly number[]
  patterns: readonly string[]
  x: number
  y: number
}

function panel({ name, points, memories, patterns, x, y }: Panel): string {
  const { width, height } = PANEL
  const [least = 1, most = 2] = [memories[0], memories.at(-1)]
  const across = (gib: number): number => (width * Math.log2(gib / least)) / Math.log2(most / least)
  const up = (share: number): number => height * (1 - share)
  const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    `<line x1="0" x2="${width}" y1="${round(up(share))}" y2="${round(up(share))}" stroke="#e3e3e3"/>`,
    `<text x="-6" y="${round(up(share) + 4)}" text-anchor="end" fill="#777" font-size="11">${100 * share} %</text>`,
  ])
  const ticks = memories.map(
    (gib) =>
      `<text x="${round(across(gib))}" y="${height + 16}" text-anchor="middle" fill="#777" font-size="11">${gib}</text>`,
  )
  const lines = patterns.map((pattern) => {
    const own = points.filter((point) => point.pattern === pattern).toSorted((a, b) => a.memoryGiB - b.memoryGiB)
    const path = own.map(({ memoryGiB, liveRatio }) => `${round(across(memoryGiB))},${round(up(liveRatio))}`).join(' ')
    return `<polyline points="${path}" fill="none" stroke-linejoin="round" ${stroke(pattern)}/>`
  })
  return [
    `<g transform="translate(${x} ${y})">`,
    `<text x="0" y="-12" font-size="14" font-weight="600" fill="#222">${name}</text>`,
    ...grid,
    ...ticks,
    `<text x="${width / 2}" y="${height + 34}" text-anchor="middle" fill="#777" font-size="11">memory, GiB</text>`,
    ...lines,
    '</g>',
  ].join('\n')
}

function legend(patterns: readonly string[], { x, y }: { x: number; y: number }): string {
  const entries = patterns
    .toReversed()
    .flatMap((pattern, index) => [
      `<line x1="0" x2="44" y1="${24 * index + 14}" y2="${24 * index + 14}" ${stroke(pattern)}/>`,
      `<text x="54" y="${24 * index + 18}" font-size="13"${pattern === 'adaptive' ? ' font-weight="600"' : ''}>${pattern}</text>`,
    ])
  return [
    `<g transform="translate(${x} ${y})">`,
    `<text x="0" y="-12" font-size="14" font-weight="600" fill="#222">turns that find their process live</text>`,
    ...entries,
    '</g>',
  ].join('\n')
}
