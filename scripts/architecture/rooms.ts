import type { Import } from './imports.ts'

/**
 * `room`: a folder of `src`. `port`: the one file of a room that says what others implement or call, told from the rest because
 * rooms below use it, too. `entry`: a file of `src` itself that imports rooms.
 */
export type Kind = 'room' | 'port' | 'entry'

export interface Room {
  name: string
  kind: Kind
}

/** One room that imports another. */
export interface Edge {
  from: string
  to: string
  typesOnly: boolean
  /** Another path of imports leads there as well. */
  implied: boolean
  /** Against the order of the others: part of a circle. */
  climbs: boolean
}

export interface House {
  rooms: Room[]
  edges: Edge[]
  /** Files of `src` itself that import no room. Every room may import them; those imports are not among the edges. */
  ground: string[]
}

type Graph = ReadonlyMap<string, ReadonlySet<string>>

/** The rooms of `src`, and which imports which. */
export function houseOf(files: readonly string[], imports: readonly Import[]): House {
  const ports = new Set(files.filter((file) => isPort(file, imports)))
  const ground = groundOf(files, imports, ports)
  const rooms = new Map<string, Room>()
  const roomOf = (file: string): string => roomName(file, ports)
  for (const file of files) {
    if (ground.has(file)) continue
    const kind = ports.has(file) ? 'port' : file.includes('/') ? 'room' : 'entry'
    rooms.set(roomOf(file), { name: roomOf(file), kind })
  }
  const links = new Map<string, { from: string; to: string; typesOnly: boolean; count: number }>()
  for (const { from, to, typesOnly } of imports) {
    if (ground.has(from) || ground.has(to) || roomOf(from) === roomOf(to)) continue
    const key = `${roomOf(from)} ${roomOf(to)}`
    const known = links.get(key) ?? { from: roomOf(from), to: roomOf(to), typesOnly: true, count: 0 }
    links.set(key, { ...known, typesOnly: known.typesOnly && typesOnly, count: known.count + 1 })
  }
  const sorted = [...links.values()].toSorted((a, b) => compare(a.from, b.from) || compare(a.to, b.to))
  const climbing = climbingOf(sorted)
  const graph = graphOf(sorted.filter((link) => !climbing.has(link)))
  return {
    rooms: [...rooms.values()].toSorted((a, b) => compare(a.name, b.name)),
    edges: sorted.map((link) => ({
      from: link.from,
      to: link.to,
      typesOnly: link.typesOnly,
      climbs: climbing.has(link),
      implied: !climbing.has(link) && isImplied(link, graph),
    })),
    ground: [...ground].toSorted(compare),
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const folderOf = (file: string): string | undefined => (file.includes('/') ? file.split('/')[0] : undefined)

const roomName = (file: string, ports: ReadonlySet<string>): string =>
  ports.has(file) ? file : (folderOf(file) ?? file)

/** A port has its folder's name, imports nothing of that folder, and is imported by others. */
function isPort(file: string, imports: readonly Import[]): boolean {
  const folder = folderOf(file)
  if (folder === undefined || file !== `${folder}/${folder}.ts`) return false
  return (
    imports.some(({ from, to }) => to === file && folderOf(from) !== folder) &&
    imports.some(({ from, to }) => to === file && folderOf(from) === folder) &&
    !imports.some(({ from, to }) => from === file && folderOf(to) === folder)
  )
}

function groundOf(files: readonly string[], imports: readonly Import[], ports: ReadonlySet<string>): Set<string> {
  const ground = new Set(files.filter((file) => !file.includes('/')))
  for (;;) {
    const rises = [...ground].filter((file) =>
      imports.some(({ from, to, typesOnly }) => from === file && !ground.has(to) && !(typesOnly && ports.has(to))),
    )
    if (rises.length === 0) return ground
    for (const file of rises) ground.delete(file)
  }
}

function graphOf(links: readonly { from: string; to: string }[]): Graph {
  const graph = new Map<string, Set<string>>()
  for (const { from, to } of links) graph.set(from, (graph.get(from) ?? new Set()).add(to))
  return graph
}

function reaches(graph: Graph, from: string, to: string): boolean {
  const seen = new Set([from])
  for (const room of seen) {
    for (const next of graph.get(room) ?? []) {
      if (next === to) return true
      seen.add(next)
    }
  }
  return false
}

const isImplied = ({ from, to }: { from: string; to: string }, graph: Graph): boolean =>
  [...(graph.get(from) ?? [])].some((other) => other !== to && reaches(graph, other, to))

/** The fewest and lightest imports without which there are no circles, or close to it: strong ones settle the order first. */
function climbingOf<Link extends { from: string; to: string; typesOnly: boolean; count: number }>(
  links: readonly Link[],
): Set<Link> {
  const climbing = new Set<Link>()
  const whole = graphOf(links)
  const inCircle = (link: Link): boolean => reaches(whole, link.to, link.from)
  const settled = links.filter((link) => !inCircle(link))
  const open = links.filter(inCircle).toSorted((a, b) => Number(a.typesOnly) - Number(b.typesOnly) || b.count - a.count)
  for (const link of open) {
    if (reaches(graphOf(settled), link.to, link.from)) climbing.add(link)
    else settled.push(link)
  }
  return climbing
}
