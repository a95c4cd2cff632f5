import { z } from 'zod'
import { ApiError } from '../errors.ts'

/** Whether a tenant may call models over `/v1/messages`, and which. */
export type Messages = boolean | { models: readonly string[] | 'any' }

export const messagesOption: z.ZodType<Messages> = z.union(
  [
    z.boolean(),
    z.strictObject({
      models: z.union([z.literal('any'), z.array(z.string().min(1)).min(1)], {
        error: 'must be a list of models, or "any"',
      }),
    }),
  ],
  { error: 'must be true, false or { models }; models is a list or "any"' },
)

interface ModelPolicyOptions {
  messages?: Messages | undefined
  tenants?: Readonly<Record<string, { messages?: Messages | undefined }>> | undefined
}

/** Says which models a tenant may call by itself. */
export class ModelPolicy {
  readonly #options: ModelPolicyOptions
  readonly #isOpen: () => boolean

  /** `isOpen`: no key is asked for. */
  constructor(options: ModelPolicyOptions, isOpen: () => boolean) {
    this.#options = options
    this.#isOpen = isOpen
  }

  allows(tenant: string, model: string): boolean {
    const rule = this.#ruleOf(tenant)
    return rule === 'any' || rule.includes(model)
  }

  /** Throws ApiError (permission_error) if the tenant may not call this model, or any. */
  check(tenant: string, model?: string): void {
    const rule = this.#ruleOf(tenant)
    if (rule !== 'any' && rule.length === 0)
      throw new ApiError(
        'permission_error',
        'this server runs agents and passes no calls of the model on; ask its operator for server.managedAgents.messages',
      )
    if (model !== undefined && !this.allows(tenant, model))
      throw new ApiError(
        'permission_error',
        `model: this server does not allow ${JSON.stringify(model.slice(0, 100))} here; use one of: ${(rule as readonly string[]).join(', ')}`,
      )
  }

  #ruleOf(tenant: string): readonly string[] | 'any' {
    const { messages: all, tenants = {} } = this.#options
    const own = Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined
    const messages = own?.messages ?? all ?? this.#isOpen()
    if (typeof messages === 'boolean') return messages ? 'any' : []
    return messages.models
  }
}
