import type { SDKMessage } from '../driver/driver.ts'
import { AuthenticationError, BudgetError } from '../errors.ts'

/** The CLI retries a refused credential ten times, for minutes. Once more than the first is enough to rule out a rotation. */
export const MOST_REFUSALS = 2

const REFUSED =
  'the model API refuses the credential of this pool; check api.key, or ANTHROPIC_API_KEY if that is left out'

const MISSING =
  'there is no credential for the model; set ANTHROPIC_API_KEY or api.key, or try the simulated model: npx claude-agent-pool simulate'

/**
 * What the model, or the credential proxy before it, refuses in a message. `count`: how many refusals that is, which end the turn with
 * the error once they are `MOST_REFUSALS`. Undefined: nothing.
 */
export function refusalIn(
  message: SDKMessage,
): { count: number; error: AuthenticationError | BudgetError } | undefined {
  const error =
    message.type === 'assistant' || (message.type === 'system' && message.subtype === 'api_retry')
      ? message.error
      : undefined
  if (error === undefined) return undefined
  const count = message.type === 'assistant' ? MOST_REFUSALS : 1
  if (error === 'authentication_failed')
    return { count, error: new AuthenticationError(isLoggedOut(message) ? MISSING : REFUSED) }
  const overdrawn = message.type === 'assistant' ? budgetError(message) : undefined
  return overdrawn === undefined ? undefined : { count, error: overdrawn }
}

/** Whether the CLI says that it has no credential at all. */
const isLoggedOut = (message: SDKMessage): boolean =>
  message.type === 'assistant' && JSON.stringify(message.message.content).includes('Not logged in')

/** The credential proxy says why it refuses; what else is about bills is the result's to tell. */
function budgetError({ message }: Extract<SDKMessage, { type: 'assistant' }>): BudgetError | undefined {
  const text = message.content.map((block) => (block.type === 'text' ? block.text : '')).join('')
  const reason = /^API Error: 402 (the budget of .*)$/s.exec(text)?.[1]
  return reason === undefined ? undefined : new BudgetError(reason)
}
