import { join } from 'node:path'
import { parseWall } from '../clock.ts'
import { FilesError } from '../errors.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { ModelAnswer, TranscriptPlace, TranscriptUsage } from '../driver/driver.ts'
import { parseEntry } from './entry.ts'
import { transcriptNames } from './transcript.ts'

/** What is read of one transcript at most, from its end. Of the longest answer of a model a line is far shorter. */
const BOUNDS = { from: 'end', lineBytes: 4 * 2 ** 20, fileBytes: 128 * 2 ** 20 } as const

/** Answers are held until they are counted. */
const MAX_HELD_BYTES = 64 * 2 ** 20

/** An entry, as far as it matters here. An agent may have written it, so that nothing is certain of what is in it. */
interface Entry {
  type?: unknown
  sessionId?: unknown
  timestamp?: unknown
  message?: { id?: unknown; model?: unknown; content?: unknown; usage?: Record<string, unknown> | null } | null
  totalCostUSD?: unknown
  modelUsage?: unknown
}

/** The CLI writes one of these when it ends in order, and goes on from the last when it resumes. */
const SAVED = '"type":"cost-state"'

type Saved = NonNullable<TranscriptUsage['saved']>

const countIn = (value: unknown): number => (typeof value === 'number' && value >= 0 && value < Infinity ? value : 0)

const timeOf = ({ timestamp }: Entry): number => (typeof timestamp === 'string' ? parseWall(timestamp) : Number.NaN)

function answerIn(entry: Entry): TranscriptUsage['unsaved'] {
  const { message } = entry
  if (entry.type !== 'assistant' || typeof message?.usage !== 'object' || message.usage === null) return []
  const { usage } = message
  const answer = {
    id: String(message.id),
    model: String(message.model),
    content: Array.isArray(message.content) ? message.content : [],
    usage: {
      input_tokens: countIn(usage['input_tokens']),
      output_tokens: countIn(usage['output_tokens']),
      cache_read_input_tokens: countIn(usage['cache_read_input_tokens']),
      cache_creation_input_tokens: countIn(usage['cache_creation_input_tokens']),
    },
  }
  return [{ at: timeOf(entry), answer: answer as ModelAnswer }]
}

function savedIn({ totalCostUSD, modelUsage }: Entry): Saved {
  const models = typeof modelUsage === 'object' && modelUsage !== null ? Object.entries(modelUsage) : []
  const told = models.map(([model, value]: [string, Record<string, unknown> | null]) => [
    model,
    {
      inputTokens: countIn(value?.['inputTokens']),
      outputTokens: countIn(value?.['outputTokens']),
      cacheReadInputTokens: countIn(value?.['cacheReadInputTokens']),
      cacheCreationInputTokens: countIn(value?.['cacheCreationInputTokens']),
      costUSD: countIn(value?.['costUSD']),
    },
  ])
  return {
    total_cost_usd: countIn(totalCostUSD),
    modelUsage: Object.fromEntries(told) as Saved['modelUsage'],
  }
}

/** The answers that are held, oldest first within each file; no more of them than memory may be spent on. */
class Held {
  readonly answers: TranscriptUsage['unsaved'][] = []
  #bytes = 0

  hold(path: string, answers: TranscriptUsage['unsaved'], bytes: number): void {
    if (answers.length > 0) this.#bytes += bytes
    if (this.#bytes > MAX_HELD_BYTES) {
      const problem = { path, reason: 'too_large', detail: `has answers of more than ${MAX_HELD_BYTES} bytes` } as const
      throw new FilesError('files_failed', `the usage cannot be counted: ${path} ${problem.detail}`, [problem])
    }
    this.answers.at(-1)?.push(...answers)
  }
}

/** Throws FilesError for a transcript that is no plain file, or is too large. */
export async function transcriptUsage(
  files: TenantFiles,
  place: TranscriptPlace,
  after: number,
): Promise<TranscriptUsage> {
  const { folder, names } = await transcriptNames(files, place)
  const [main, ...others] = names.filter((name) => name.endsWith('.jsonl')).map((name) => join(folder, name))
  if (main === undefined) return { saved: undefined, unsaved: [] }
  const held = new Held()
  held.answers.push([])
  const { saved, since } = await readMain(files, main, { sessionId: place.sessionId, after, held })
  // Subagents have files of their own, in which no total is saved.
  for (const path of others) {
    if (((await files.facts(path))?.mtimeMs ?? 0) <= after) continue
    held.answers.push([])
    for await (const { text = '', bytes } of files.lines(path, BOUNDS)) {
      const answers = answerIn(parseEntry<Entry>(text) ?? {})
      held.hold(
        path,
        answers.filter(({ at }) => at > after && at >= since),
        bytes,
      )
    }
  }
  return { saved, unsaved: held.answers.flatMap((answers) => answers.toReversed()) }
}

/** `since`: when the first process began that has saved nothing; never where there is none. */
async function readMain(
  files: TenantFiles,
  path: string,
  { sessionId, after, held }: { sessionId: string; after: number; held: Held },
): Promise<{ saved: TranscriptUsage['saved']; since: number }> {
  let since = Infinity
  for await (const { text = '', bytes } of files.lines(path, BOUNDS)) {
    // Of what was counted already only the total matters.
    if (since <= after && !text.includes(SAVED)) continue
    const entry = parseEntry<Entry>(text)
    if (entry === undefined) continue
    if (entry.type === 'cost-state' && entry.sessionId === sessionId) {
      return { saved: savedIn(entry), since }
    }
    held.hold(
      path,
      answerIn(entry).filter(({ at }) => at > after),
      bytes,
    )
    since = Math.min(since, timeOf(entry) || since)
  }
  return { saved: undefined, since }
}
