import { createHash } from 'node:crypto'
import { StoreError } from '../../errors.ts'
import { TABLES } from './tables.ts'
import type { CopyTable, Row, Value } from './tables.ts'

/** Behind the row that was read last. */
export type Cursor = readonly Value[]

/** Rows in the order of a table, and where the next ones begin; undefined: there are no more. */
export interface CopyPage {
  rows: Row[]
  next: Cursor | undefined
}

/** A store whose tables can be read. */
export interface CopyReader {
  /** For messages: without a password. */
  readonly shown: string
  read(table: CopyTable, after: Cursor | undefined): Promise<CopyPage>
}

/** The store that is copied. It is not changed, and no host runs on it. */
export interface CopySource extends CopyReader, AsyncDisposable {
  /** Rejects with StoreError if a host has started on it since it was opened. */
  checkUnused(): Promise<void>
}

/** How far a copy has come. It is written with the rows, so that a copy that was cut off goes on where it was. */
export interface CopyProgress {
  /** What is copied. */
  from: string
  /** The place of the table that is being copied; behind the last one everything is. */
  table: number
  after?: Cursor | undefined
  /** Both sides were compared. */
  verified?: true
}

/** The store that is written. No host can start on it before the copy is finished. */
export interface CopyTarget extends CopyReader, AsyncDisposable {
  /** Where this copy goes on. Rejects with StoreError if anything else is there. */
  begin(from: string): Promise<CopyProgress>
  /** Adds rows and replaces `before`, as a whole. */
  write(table: CopyTable, rows: readonly Row[], progress: Moved): Promise<void>
  /** Makes the copy the store of hosts. */
  finish(): Promise<void>
}

interface Moved {
  before: CopyProgress
  after: CopyProgress
}

/** What a table holds, in few words. */
interface Digest {
  rows: number
  hash: string
}

/** A table that was copied, or compared. */
export interface CopyStep {
  step: 'copied' | 'verified'
  table: string
  rows: number
}

/** Copies all rows, and compares both sides. `onStep` hears of each table. Rejects with StoreError. */
export async function copyRows(
  source: CopySource,
  target: CopyTarget,
  onStep: (step: CopyStep) => void,
): Promise<CopyProgress> {
  let at = await target.begin(source.shown)
  for (const [place, table] of TABLES.entries()) {
    if (place < at.table) continue
    let rows = 0
    for (let after = place === at.table ? at.after : undefined, more = true; more;) {
      const page = await source.read(table, after)
      const next: CopyProgress =
        page.next === undefined
          ? { from: at.from, table: place + 1 }
          : { from: at.from, table: place, after: page.next }
      await target.write(table, page.rows, { before: at, after: next })
      at = next
      after = page.next
      more = after !== undefined
      rows += page.rows.length
    }
    onStep({ step: 'copied', table: table.name, rows })
  }
  if (at.verified === true) return at
  await compare(source, target, onStep)
  await source.checkUnused()
  const verified: CopyProgress = { ...at, verified: true }
  await target.write(TABLES[0] as CopyTable, [], { before: at, after: verified })
  return verified
}

/** Rejects with StoreError if any table differs. */
async function compare(source: CopyReader, target: CopyReader, onStep: (step: CopyStep) => void): Promise<void> {
  for (const table of TABLES) {
    const [wanted, found] = [await digestOf(source, table), await digestOf(target, table)]
    if (wanted.rows !== found.rows || wanted.hash !== found.hash)
      throw new StoreError(
        `the copy differs from what it was made of: ${table.name} has ${wanted.rows} rows in ${source.shown} and ${found.rows} in ${target.shown}` +
          `${wanted.rows === found.rows ? ', with other contents' : ''}. A host may have run on the source since the copy began: copy again with --restart`,
      )
    onStep({ step: 'verified', table: table.name, rows: wanted.rows })
  }
}

/** The same for the same rows in any order, but for those of lists. */
async function digestOf(reader: CopyReader, table: CopyTable): Promise<Digest> {
  let rows = 0
  let sum = 0n
  let list = ''
  let place = 0
  let after: Cursor | undefined
  do {
    const page = await reader.read(table, after)
    for (const row of page.rows) {
      const ofList = table.listsBy === undefined ? '' : JSON.stringify(row.slice(0, table.listsBy))
      place = ofList === list ? place + 1 : 0
      list = ofList
      const told = JSON.stringify(table.listsBy === undefined ? row : [place, ...row])
      sum = (sum + BigInt(`0x${createHash('sha256').update(told).digest('hex')}`)) % 2n ** 256n
      rows += 1
    }
    after = page.next
  } while (after !== undefined)
  return { rows, hash: sum.toString(16) }
}
