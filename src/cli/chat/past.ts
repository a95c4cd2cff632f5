import { ConfigError } from '../../index.ts'
import type { Session, SessionEvent } from '../../index.ts'
import { toolWords } from './tool-words.ts'

/** Something that was said before, for people. */
export interface PastEntry {
  kind: 'prompt' | 'answer' | 'tool'
  lines: string[]
}

/** The end of a conversation. `cut`: more was said before it. */
export interface Past {
  entries: PastEntry[]
  cut: boolean
}

const SHOWN = ['user.message', 'agent.message', 'agent.tool_use', 'agent.mcp_tool_use', 'agent.custom_tool_use']

/** So many events are read, and so many lines shown: what fits a screen or two. */
const MOST_EVENTS = 100
const MOST_LINES = 60

/** Of one message. */
const LINES_EACH = 20

/** The lines of one message that are shown. */
export function linesOf(text: string): string[] {
  const lines = text.trimEnd().split('\n')
  if (lines.length <= LINES_EACH) return lines
  return [...lines.slice(0, LINES_EACH - 1), `… ${lines.length - LINES_EACH + 1} more lines`]
}

const textOf = (content: readonly { type: string; [key: string]: unknown }[]): string =>
  content.map((block) => (block.type === 'text' ? String(block['text']) : `[${block.type}]`)).join('\n')

function entryOf(event: SessionEvent): PastEntry | undefined {
  switch (event.type) {
    case 'user.message':
      return { kind: 'prompt', lines: linesOf(textOf(event.content)) }
    case 'agent.message':
      return { kind: 'answer', lines: linesOf(textOf(event.content)) }
    case 'agent.tool_use':
    case 'agent.mcp_tool_use':
    case 'agent.custom_tool_use':
      return { kind: 'tool', lines: [toolWords(event.name, event.input)] }
    default:
      return undefined
  }
}

/** As much of it as is shown, in order. `entries`: the newest first. */
export function cutPast(entries: Iterable<PastEntry>): Past {
  const shown: PastEntry[] = []
  let lines = 0
  for (const entry of entries) {
    lines += entry.lines.length
    if (lines > MOST_LINES && shown.length > 0) return { entries: shown.toReversed(), cut: true }
    shown.push(entry)
  }
  return { entries: shown.toReversed(), cut: false }
}

/** The end of what was said in a session; undefined where no events are kept. */
export async function pastOf(session: Session): Promise<Past | undefined> {
  try {
    const newest = await session.history({ types: SHOWN, descending: true, limit: MOST_EVENTS })
    const entries = newest.map(({ event }) => entryOf(event)).filter((entry) => entry !== undefined)
    const past = cutPast(entries)
    return { ...past, cut: past.cut || newest.length === MOST_EVENTS }
  } catch (error) {
    if (error instanceof ConfigError) return undefined
    throw error
  }
}
