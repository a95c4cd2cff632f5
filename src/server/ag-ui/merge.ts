import type { AssistantMessage, Message, ToolCall } from '@ag-ui/core'

/** What makes two messages the same one: a tool call has one result, whichever message names it. */
const keyOf = (message: Message): string =>
  message.role === 'tool' ? `result of ${message.toolCallId}` : `message ${message.id}`

/**
 * The conversation that a front end is to show: what it has, in its order, and what the session has beside. Of a message that
 * both have, the session knows best what was said, and the front end what it calls it.
 */
export function merge(shown: readonly Message[], session: readonly Message[]): Message[] {
  return mergeInOrder(shown, withoutCallsOf(shown, session))
}

/** A call that was told ahead of its answer is in another message there: it stays where the front end shows it. */
function withoutCallsOf(shown: readonly Message[], session: readonly Message[]): Message[] {
  const owners = new Map<string, string>()
  for (const message of shown)
    if (message.role === 'assistant') for (const { id } of message.toolCalls ?? []) owners.set(id, message.id)
  return session.flatMap((message): Message[] => {
    if (message.role !== 'assistant' || message.toolCalls === undefined) return [message]
    const toolCalls = message.toolCalls.filter(({ id }) => (owners.get(id) ?? message.id) === message.id)
    if (toolCalls.length === message.toolCalls.length) return [message]
    if (toolCalls.length === 0 && (message.content ?? '') === '') return []
    const { toolCalls: _, ...rest } = message
    return [toolCalls.length === 0 ? rest : { ...rest, toolCalls }]
  })
}

function mergeInOrder(shown: readonly Message[], session: readonly Message[]): Message[] {
  const places = new Map(session.map((message, index) => [keyOf(message), index]))
  const known = new Set(shown.map(keyOf))
  const merged: Message[] = []
  let next = 0
  const addUpTo = (end: number): void => {
    for (; next < end; next += 1) {
      const message = session[next] as Message
      if (!known.has(keyOf(message))) merged.push(message)
    }
  }
  for (const message of shown) {
    const place = places.get(keyOf(message))
    if (place === undefined) {
      merged.push(message)
      continue
    }
    addUpTo(place)
    next = Math.max(next, place + 1)
    merged.push(combined(message, session[place] as Message))
  }
  addUpTo(session.length)
  return merged
}

function combined(shown: Message, session: Message): Message {
  if (shown.role === 'user' || session.role === 'user') return shown
  if (shown.role !== 'assistant' || session.role !== 'assistant')
    return { ...shown, ...session, id: shown.id } as Message
  const calls = withCalls(shown, session)
  return { ...shown, ...session, ...(calls.length === 0 ? {} : { toolCalls: calls }) }
}

/** A call that was told a moment ago may not be in the session's events yet. */
function withCalls(shown: AssistantMessage, session: AssistantMessage): ToolCall[] {
  const own = session.toolCalls ?? []
  return [...own, ...(shown.toolCalls ?? []).filter(({ id }) => !own.some((call) => call.id === id))]
}

/** Without what the agent thought: the session does not keep it. */
export const withoutThoughts = (messages: readonly Message[]): Message[] =>
  messages.filter(({ role }) => role !== 'reasoning')

/** Clients keep their thoughts through a snapshot without any; one that has some is to have all. */
const CLEARED: Message = { id: 'cleared', role: 'reasoning', content: '' }

/**
 * The snapshots that make a front end show `wanted`. Clients keep the order of what they have and add the rest at the end:
 * where that would be wrong, they are to forget everything first.
 */
export function snapshots(shown: readonly Message[], wanted: readonly Message[]): Message[][] {
  const [before, after] = [withoutThoughts(shown), withoutThoughts(wanted)]
  if (JSON.stringify(before) === JSON.stringify(after)) return []
  const known = new Set(before.map(({ id }) => id))
  const kept = after.filter(({ id }) => known.has(id))
  const addsAtTheEnd = kept.every(({ id }, index) => after[index]?.id === id)
  if (addsAtTheEnd && isSubsequence(kept, before)) return [after]
  return before.length === shown.length ? [[], after] : [[CLEARED], [...wanted]]
}

function isSubsequence(part: readonly Message[], whole: readonly Message[]): boolean {
  let at = 0
  for (const { id } of whole) if (part[at]?.id === id) at += 1
  return at === part.length
}
