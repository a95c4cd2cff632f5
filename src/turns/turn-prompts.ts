import type { SDKMessage, SDKResultMessage } from '../driver/driver.ts'

/** What the CLI tells of the prompts in its queue; the SDK has no type for it. */
interface PromptLifecycle {
  type: 'command_lifecycle'
  command_uuid: string
  state: string
}

const lifecycleOf = (message: { type: string }): PromptLifecycle | undefined =>
  message.type === 'command_lifecycle' ? (message as PromptLifecycle) : undefined

/** Only our own prompt ids make the CLI tell of its queue; a plain query never shows it. */
export const isOfQueue = (message: SDKMessage): boolean => lifecycleOf(message) !== undefined

/** Whether the process is at work on one of these prompts: it has an earlier one in its queue, or still tells of the last turn. */
export function isBegunBy(message: SDKMessage, pending: ReadonlySet<string>): boolean {
  const lifecycle = lifecycleOf(message)
  if (lifecycle !== undefined) return lifecycle.state === 'started' && pending.has(lifecycle.command_uuid)
  return message.type !== 'system' || message.subtype === 'init'
}

/** Takes the prompts that a result answers from these. False: it answers none. */
export function takeAnswered(message: SDKResultMessage, pending: Set<string>): boolean {
  const answered =
    message.user_message_uuids ?? (message.user_message_uuid === undefined ? [] : [message.user_message_uuid])
  // A result without a prompt belongs to work that the process began by itself.
  if (answered.length === 0 && message.origin !== undefined && message.origin.kind !== 'human') return false
  for (const uuid of answered) pending.delete(uuid)
  if (answered.length === 0) pending.clear()
  return true
}
