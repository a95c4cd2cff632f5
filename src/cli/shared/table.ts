import Table from 'cli-table3'
import { pack, wrap } from './text.ts'

export interface Column {
  head: string
  align?: 'left' | 'right'
  /** It may be made as narrow as this, in characters; its cells then have several lines. */
  least?: number
  /** In a list, what stands before the other facts. */
  title?: true
}

export type Cell = string | number

/** A border at each side of a cell, and one at the end. */
const PADDING = 2

function draw(columns: readonly Column[], rows: readonly (readonly string[])[], widths?: readonly number[]): string {
  const fitted = (text: string, index: number): string =>
    widths === undefined ? text : wrap(text, widths[index] ?? text.length).join('\n')
  const made = new Table({
    head: columns.map(({ head }, index) => fitted(head, index)),
    style: { head: [], border: [] },
    colAligns: columns.map(({ align = 'left' }) => align),
  })
  made.push(...rows.map((row) => row.map(fitted)))
  return made.toString()
}

/** The widths of its columns when each is as wide as its widest cell. */
const naturalWidths = (columns: readonly Column[], rows: readonly (readonly string[])[]): number[] =>
  columns.map(({ head }, index) => Math.max(head.length, ...rows.map((row) => row[index]?.length ?? 0)))

const total = (widths: readonly number[]): number => widths.reduce((sum, width) => sum + width + PADDING + 1, 1)

/** Takes from the widest column that may still give, until it fits; undefined when it never does. */
function shrink(natural: readonly number[], columns: readonly Column[], width: number): number[] | undefined {
  const widths = [...natural]
  while (total(widths) > width) {
    const spare = widths.map((each, index) => (each > (columns[index]?.least ?? each) ? each : 0))
    const widest = Math.max(...spare)
    if (widest === 0) return undefined
    widths[spare.indexOf(widest)] = widest - 1
  }
  return widths
}

/** Where no table fits: for each row its title, and below it what else there is. */
function list(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): string {
  const lines: string[] = []
  for (const row of rows) {
    const cells = columns.map((column, index) => ({ ...column, text: (row[index] ?? '').trim() }))
    const title = cells.filter(({ title: isTitle, text }) => isTitle === true && text !== '').map(({ text }) => text)
    const facts = cells.filter(({ title: isTitle, text }) => isTitle !== true && text !== '')
    if (title.length > 0) lines.push(...pack(title, '  ', width))
    const said = facts.map(({ head, text }) => `${head} ${text}`.trim())
    lines.push(...pack(said, ' · ', width - 2).map((line) => `  ${line}`))
  }
  return lines.join('\n')
}

/** A table that is no wider than `width`: as it is, with narrower columns, or as a list. */
export function tableOf(columns: readonly Column[], rows: readonly (readonly Cell[])[], width: number): string {
  const cells = rows.map((row) => row.map(String))
  const natural = naturalWidths(columns, cells)
  if (total(natural) <= width) return draw(columns, cells)
  const widths = shrink(natural, columns, width)
  return widths === undefined ? list(columns, cells, width) : draw(columns, cells, widths)
}
