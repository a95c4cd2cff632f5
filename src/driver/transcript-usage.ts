import { open, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseWall } from '../clock.ts'
import type { ModelAnswer, TranscriptPlace, TranscriptUsage } from './driver.ts'
import { parseEntry } from './transcript-entry.ts'
import { transcriptNames } from './transcripts.ts'

/** What is read of a transcript at a time, from its end. */
const PIECE_BYTES = 256 * 1024

/** An entry, as far as it matters here. */
interface Entry {
  type?: string
  sessionId?: string
  timestamp?: string
  message?: ModelAnswer
  totalCostUSD?: number
  modelUsage?: NonNullable<TranscriptUsage['saved']>['modelUsage']
}

/** The CLI writes one of these when it ends in order, and goes on from the last when it resumes. */
const SAVED = '"type":"cost-state"'

/** The lines of a file, the last first. */
async function* linesFromEnd(path: string): AsyncGenerator<string> {
  const file = await open(path)
  try {
    let { size: end } = await file.stat()
    let rest = Buffer.alloc(0)
    while (end > 0) {
      const start = Math.max(0, end - PIECE_BYTES)
      const piece = Buffer.alloc(end - start)
      await file.read(piece, 0, piece.length, start)
      end = start
      let unread = Buffer.concat([piece, rest])
      for (let at = unread.lastIndexOf(0x0a); at !== -1; at = unread.lastIndexOf(0x0a)) {
        yield unread.toString('utf8', at + 1)
        unread = unread.subarray(0, at)
      }
      rest = unread
    }
    yield rest.toString('utf8')
  } finally {
    await file.close()
  }
}

const timeOf = ({ timestamp }: Entry): number => (timestamp === undefined ? Number.NaN : parseWall(timestamp))

const answerIn = (entry: Entry): TranscriptUsage['unsaved'] =>
  entry.type === 'assistant' && entry.message?.usage !== undefined ? [{ at: timeOf(entry), answer: entry.message }] : []

export async function transcriptUsage(place: TranscriptPlace, after: number): Promise<TranscriptUsage> {
  const { folder, names } = await transcriptNames(place)
  const [main, ...others] = names.filter((name) => name.endsWith('.jsonl')).map((name) => join(folder, name))
  if (main === undefined) return { saved: undefined, unsaved: [] }
  const { saved, since, answers } = await readMain(main, place.sessionId, after)
  const unsaved = [answers.toReversed()]
  // Subagents have files of their own, in which no total is saved.
  for (const path of others) {
    if ((await stat(path)).mtimeMs <= after) continue
    const entries = (await readFile(path, 'utf8')).split('\n').map((line) => parseEntry<Entry>(line) ?? {})
    unsaved.push(entries.flatMap(answerIn).filter(({ at }) => at > after && at >= since))
  }
  return { saved, unsaved: unsaved.flat() }
}

/** `since`: when the first process began that has saved nothing; never where there is none. */
async function readMain(
  path: string,
  sessionId: string,
  after: number,
): Promise<{ saved: TranscriptUsage['saved']; since: number; answers: TranscriptUsage['unsaved'] }> {
  const answers: TranscriptUsage['unsaved'] = []
  let since = Infinity
  for await (const line of linesFromEnd(path)) {
    // Of what was counted already only the total matters.
    if (since <= after && !line.includes(SAVED)) continue
    const entry = parseEntry<Entry>(line)
    if (entry === undefined) continue
    if (entry.type === 'cost-state' && entry.sessionId === sessionId) {
      const { totalCostUSD = 0, modelUsage = {} } = entry
      return { saved: { total_cost_usd: totalCostUSD, modelUsage }, since, answers }
    }
    answers.push(...answerIn(entry).filter(({ at }) => at > after))
    since = Math.min(since, timeOf(entry) || since)
  }
  return { saved: undefined, since, answers }
}
