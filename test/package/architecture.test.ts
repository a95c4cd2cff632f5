import { readFile } from 'node:fs/promises'
import { join, posix, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { draw } from '../../scripts/architecture/draw.ts'
import { filesOf, importsOf } from '../../scripts/architecture/imports.ts'
import type { Import } from '../../scripts/architecture/imports.ts'
import { houseOf } from '../../scripts/architecture/rooms.ts'

const project = resolve(import.meta.dirname, '../..')
const src = join(project, 'src')

/** `a/b.ts > c/d.ts` imports values, `a/b.ts - c/d.ts` types only. */
const imports = (...lines: string[]): Import[] =>
  lines.map((line) => {
    const [from = '', sign, to = ''] = line.split(' ')
    return { from, to, typesOnly: sign === '-' }
  })

const house = (lines: Import[]): ReturnType<typeof houseOf> =>
  houseOf([...new Set(lines.flatMap(({ from, to }) => [from, to]))], lines)

test('docs/architecture.svg shows the imports of src as they are: npm run architecture draws it anew', async () => {
  const drawn = await draw(houseOf(filesOf(src), importsOf(src)))
  expect(await readFile(join(project, 'docs/architecture.svg'), 'utf8')).toBe(drawn)
})

test('the same house is drawn alike, in whatever order its files are read', async () => {
  const lines = imports('a/x.ts > b/y.ts', 'b/y.ts - c/z.ts', 'a/x.ts > c/z.ts', 'c/z.ts > errors.ts')
  expect(await draw(house(lines.toReversed()))).toBe(await draw(house(lines)))
})

test('an import of types alone is told from one of values, unless the rooms share values elsewhere', () => {
  const { edges } = house(imports('a/x.ts - b/y.ts', 'a/x.ts - c/z.ts', 'a/w.ts > c/z.ts'))
  expect(edges.map(({ to, typesOnly }) => [to, typesOnly])).toEqual([
    ['b', true],
    ['c', false],
  ])
})

test('an import that other imports lead to as well is marked', () => {
  const { edges } = house(imports('a/x.ts > b/y.ts', 'b/y.ts > c/z.ts', 'a/x.ts > c/z.ts'))
  expect(edges.filter(({ implied }) => implied)).toMatchObject([{ from: 'a', to: 'c' }])
})

test('of a circle, the lightest import is the one that climbs', () => {
  const { edges } = house(
    imports('a/x.ts > b/y.ts', 'a/w.ts > b/y.ts', 'b/y.ts > c/z.ts', 'b/v.ts > c/z.ts', 'c/z.ts - a/x.ts'),
  )
  expect(edges.filter(({ climbs }) => climbs)).toMatchObject([{ from: 'c', to: 'a' }])
})

test('a port stands apart from its room, so that what implements it and what uses it point at it', () => {
  const { rooms, edges } = house(
    imports('s/sql.ts - s/s.ts', 's/sql.ts > p/p.ts', 'p/p.ts - s/s.ts', 'p/p.ts > p/q.ts'),
  )
  expect(rooms.filter(({ kind }) => kind === 'port').map(({ name }) => name)).toEqual(['s/s.ts'])
  expect(edges.filter(({ climbs }) => climbs)).toEqual([])
})

test('files of src itself are ground unless they import rooms', () => {
  const lines = imports('index.ts > make.ts', 'make.ts > a/x.ts', 'a/x.ts > errors.ts', 'clock.ts > errors.ts')
  const { rooms, ground } = house(lines)
  expect(ground).toEqual(['clock.ts', 'errors.ts'])
  expect(rooms.map(({ name }) => name)).toEqual(['a', 'index.ts', 'make.ts'])
})

describe('docs/architecture.md', async () => {
  const text = await readFile(join(project, 'docs/architecture.md'), 'utf8')
  const lists = text
    .split(/^## /m)
    .slice(1)
    .map((section) => ({
      title: section.slice(0, section.indexOf('\n')),
      entered: [...section.matchAll(/^\d+\. `src\/([^`]+)`/gm)].map(([, file]) => file ?? ''),
      items: section.match(/^\d+\. /gm)?.length,
    }))

  test('tells the lives of a prompt, of a process and of an HTTP request', () => {
    expect(lists.map(({ title }) => title)).toEqual([
      'The life of a prompt',
      'The life of a process',
      'The life of an HTTP request',
    ])
  })

  test.for(lists)('$title: each item names a file of src that an earlier one imports', ({ entered, items }) => {
    expect(entered.length).toBe(items)
    expect(entered.length).toBeGreaterThan(5)
    expect(entered.filter((file) => !filesOf(src).includes(file))).toEqual([])
    const all = importsOf(src)
    const unreached = entered.filter(
      (file, at) => at > 0 && !all.some(({ from, to }) => to === file && entered.slice(0, at).includes(from)),
    )
    expect(unreached).toEqual([])
  })
})

test('no folder of src holds more than 24 files', () => {
  const folders = Object.groupBy(filesOf(src), (file) => posix.dirname(file))
  const large = Object.entries(folders).flatMap(([folder, files = []]) => (files.length > 24 ? [folder] : []))
  expect(large).toEqual([])
})

test('every folder of src has its line in CONTRIBUTING.md', async () => {
  const contributing = await readFile(join(project, 'CONTRIBUTING.md'), 'utf8')
  const { rooms } = houseOf(filesOf(src), importsOf(src))
  const missing = rooms.filter(({ name, kind }) => kind === 'room' && !contributing.includes(`\`src/${name}/\``))
  expect(missing.map(({ name }) => name)).toEqual([])
})
