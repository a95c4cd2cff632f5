const OPEN = '<system-reminder>'
const CLOSE = '</system-reminder>'

/** A text of the CLI, taken apart: what was written, and the reminders that the CLI put into it. */
export interface Reminded {
  written: string
  reminders: readonly string[]
}

/** Takes the reminders out, wherever they are. By hand, since a pattern needs quadratic time for openings without an end. */
export function splitReminders(text: string): Reminded {
  const reminders: string[] = []
  let written = ''
  let at = 0
  for (;;) {
    const start = text.indexOf(OPEN, at)
    const end = start === -1 ? -1 : text.indexOf(CLOSE, start)
    if (end === -1) return { written: written + text.slice(at), reminders }
    written += text.slice(at, start)
    at = end + CLOSE.length
    reminders.push(text.slice(start, at))
  }
}

/** Takes the reminders off the end of a tool's result, where the CLI puts them. Earlier ones are the tool's own output. */
export function splitLastReminders(text: string): Reminded {
  const reminders: string[] = []
  let written = text
  for (;;) {
    const rest = written.trimEnd()
    const start = rest.endsWith(CLOSE) ? rest.lastIndexOf(OPEN) : -1
    if (start === -1) return { written: reminders.length === 0 ? text : rest, reminders }
    reminders.unshift(rest.slice(start))
    written = rest.slice(0, start)
  }
}

/** The CLI's words around a prompt that was sent while a turn ran. */
const STEERED = 'The user sent a new message while you were working:\n'
const STEERED_END = '\n\nThis is how Claude Code surfaces'

/** The prompts that a human sent into a running turn, oldest first. */
export function steeredPrompts(text: string): string[] {
  const prompts: string[] = []
  for (let at = text.indexOf(STEERED); at !== -1; at = text.indexOf(STEERED, at)) {
    const start = at + STEERED.length
    const end = text.indexOf(STEERED_END, start)
    if (end === -1) break
    prompts.push(text.slice(start, end).trim())
    at = end + STEERED_END.length
  }
  return prompts
}

/** Newer CLIs put such a prompt beside a tool's result as it is, older ones into a reminder. */
export const isSteered = (text: string): boolean => text.startsWith(STEERED) && text.includes(STEERED_END)
