import { z } from 'zod'
import { internalTarget } from '../../addresses.ts'
import type { Resolve } from '../../addresses.ts'
import { ApiError } from '../errors.ts'
import { builtInTools } from './definition.ts'
import type { AgentDefinition } from './definition.ts'
import { messagesOption } from './model-policy.ts'
import type { Messages } from './model-policy.ts'
import { vaultsOption } from './vaults/vault-keys.ts'
import type { VaultsOption } from './vaults/vault-keys.ts'
import { webhooksOption } from './webhooks/options.ts'
import type { WebhooksOption } from './webhooks/options.ts'
import { TOOL_NAMES } from './schema.ts'
import type { ToolName } from './schema.ts'

/** What a tenant may put into an agent that it defines. A missing rule allows nothing. */
export interface DefinitionRules {
  /** Built-in tools by the API's names, such as `read`; `"any"` allows all of them. Tools that the client executes are always allowed. */
  tools?: readonly ToolName[] | 'any' | undefined
  /** Models by their ids; `"any"` allows all of them. */
  models: readonly string[] | 'any'
  /**
   * The addresses of the agent's MCP servers: `host`, `host:port` or `*.domain`; `"any"` allows every public address.
   * Only an entry that names it allows an address on loopback, link-local or a private network.
   */
  mcp?: { allow: readonly string[] | 'any' } | undefined
}

/** Whether a tenant may define agents over `/v1`. */
export type Define = boolean | DefinitionRules

/** The `managedAgents` section of the server's options. */
export interface ManagedAgentsOptions {
  /** Which tenants may define agents over `/v1`. Default: `false` once keys or `jwt` are set, else `true`. */
  define?: Define | undefined
  /** Which models tenants may call by themselves, over `/v1/messages`. Default: `false` once keys or `jwt` are set, else `true`. */
  messages?: Messages | undefined
  /** Where the server tells of all tenants, by names of the operator's choice. Default: nowhere. */
  webhooks?: WebhooksOption | undefined
  /** The keys that encrypt the secrets of vaults. Default: none; vaults are refused. */
  vaults?: VaultsOption | undefined
  /** The same for single tenants, by name. `webhooks` is in addition to the above, all else in place of it. */
  tenants?: Readonly<Record<string, TenantManagedAgentsOptions>> | undefined
}

/** What of `managedAgents` one tenant can have for itself. */
export interface TenantManagedAgentsOptions {
  define?: Define | undefined
  messages?: Messages | undefined
  webhooks?: WebhooksOption | undefined
}

const place = z
  .string()
  .regex(/^(\*\.)?[A-Za-z0-9._-]+(:\d{1,5})?$|^\[[0-9A-Fa-f:.]+\](:\d{1,5})?$/, 'is not a host, host:port or *.domain')

const define: z.ZodType<Define> = z.union(
  [
    z.boolean(),
    z.strictObject({
      tools: z
        .union([z.literal('any'), z.array(z.enum(Object.keys(TOOL_NAMES) as [ToolName, ...ToolName[]]))])
        .optional(),
      models: z.union([z.literal('any'), z.array(z.string().min(1)).min(1)], {
        error: 'must be a list of models, or "any"',
      }),
      mcp: z.strictObject({ allow: z.union([z.literal('any'), z.array(place)]) }).optional(),
    }),
  ],
  { error: 'must be true, false or { tools, models, mcp: { allow } }; models is a list or "any"' },
)

/** The shape of `managedAgents`. */
export const managedAgentsOptions: z.ZodType<ManagedAgentsOptions> = z.strictObject({
  define: define.optional(),
  messages: messagesOption.optional(),
  webhooks: webhooksOption.optional(),
  vaults: vaultsOption.optional(),
  tenants: z
    .record(
      z.string(),
      z
        .strictObject({
          define: define.optional(),
          messages: messagesOption.optional(),
          webhooks: webhooksOption.optional(),
        })
        .refine((own) => Object.values(own).some((value) => value !== undefined), {
          error: 'has none of define, messages and webhooks',
        }),
    )
    .optional(),
})

/** Says which agents a tenant may define, and which stored ones it may still run. */
export class DefinitionPolicy {
  readonly #options: ManagedAgentsOptions
  readonly #isOpen: () => boolean
  readonly #allowsEgress: (tenant: string, url: URL) => boolean
  readonly #resolve: Resolve | undefined

  /** `isOpen`: no key is asked for. `allowsEgress`: `isolation.egress` lets what acts for the tenant reach it. */
  constructor(
    options: ManagedAgentsOptions,
    isOpen: () => boolean,
    {
      allowsEgress = () => true,
      resolve,
    }: { allowsEgress?: (tenant: string, url: URL) => boolean; resolve?: Resolve } = {},
  ) {
    this.#allowsEgress = allowsEgress
    this.#options = options
    this.#isOpen = isOpen
    this.#resolve = resolve
  }

  /** True if the tenant may run this definition. MCP servers that resolve to an internal address are found by `check()` alone. */
  permits(tenant: string, definition: AgentDefinition): boolean {
    return this.#objection(tenant, definition) === undefined
  }

  /** Throws ApiError (permission_error) that names what the tenant may not define. */
  async check(tenant: string, definition: AgentDefinition): Promise<void> {
    const objection = this.#objection(tenant, definition) ?? (await this.#internalServer(tenant, definition))
    if (objection !== undefined) throw new ApiError('permission_error', objection)
  }

  #rulesOf(tenant: string): Define {
    const { define: all, tenants = {} } = this.#options
    const own = Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined
    return own?.define ?? all ?? this.#isOpen()
  }

  #objection(tenant: string, definition: AgentDefinition): string | undefined {
    const rules = this.#rulesOf(tenant)
    if (rules === true) return this.#closedServer(tenant, definition, [])
    if (rules === false)
      return 'this server runs the agents of its config only; use one that GET /v1/agents lists, or ask its operator for server.managedAgents.define'
    const { tools = [], models, mcp: { allow } = { allow: [] } } = rules
    const tool = builtInTools(definition).find(({ name }) => tools !== 'any' && !tools.includes(name))
    if (tool !== undefined) return `tools: this server does not allow ${tool.name} here; disable it in configs`
    if (models !== 'any' && !models.includes(definition.model.id))
      return `model: this server does not allow ${definition.model.id} here; use one of: ${models.join(', ')}`
    const server = definition.mcp_servers.find(({ url }) => allow !== 'any' && !isListed(new URL(url), allow))
    if (server !== undefined) return `mcp_servers: this server does not allow ${server.url} here`
    return this.#closedServer(tenant, definition, allow === 'any' ? [] : allow)
  }

  /** An entry of the operator's that names a server allows it, whatever processes may reach. */
  #closedServer(
    tenant: string,
    { mcp_servers: servers }: AgentDefinition,
    named: readonly string[],
  ): string | undefined {
    const closed = servers.find(
      ({ url }) => !isListed(new URL(url), named) && !this.#allowsEgress(tenant, new URL(url)),
    )
    return closed && `mcp_servers: isolation.egress of this server does not allow ${closed.url} here`
  }

  /** Whether an MCP server of this tenant's agents must be at a public address. */
  mustBePublic(tenant: string, url: URL): boolean {
    // The one tenant of a server without keys is a program of this machine: it reaches these addresses by itself.
    if (this.#isOpen()) return false
    const rules = this.#rulesOf(tenant)
    const listed = typeof rules === 'object' && Array.isArray(rules.mcp?.allow) ? (rules.mcp.allow as string[]) : []
    return !isListed(url, listed)
  }

  /** Throws ApiError (permission_error) if the host may not connect to an MCP server for the tenant, or to another place for its agents. */
  async checkAddress(tenant: string, url: URL, field: string, { isServer }: { isServer: boolean }): Promise<void> {
    const rules = this.#rulesOf(tenant)
    const allow = typeof rules === 'object' ? (rules.mcp?.allow ?? []) : 'any'
    const named = allow === 'any' ? [] : allow
    const refused = (why: string): ApiError => new ApiError('permission_error', `${field}: ${why}`)
    if (rules === false) throw refused('this server runs the agents of its config only, which use no vaults')
    if (isServer && allow !== 'any' && !isListed(url, allow))
      throw refused(`this server does not allow ${url.href} here`)
    if (!isListed(url, named) && !this.#allowsEgress(tenant, url))
      throw refused(`isolation.egress of this server does not allow ${url.href} here`)
    const problem = this.mustBePublic(tenant, url) ? await internalTarget(url, this.#resolve) : undefined
    if (problem !== undefined) throw refused(problem)
  }

  async #internalServer(tenant: string, definition: AgentDefinition): Promise<string | undefined> {
    for (const { url } of definition.mcp_servers) {
      const target = new URL(url)
      const problem = this.mustBePublic(tenant, target) ? await internalTarget(target, this.#resolve) : undefined
      if (problem !== undefined) return `mcp_servers: ${problem}`
    }
    return undefined
  }
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/** An entry without a port allows every port. */
function isListed({ protocol, hostname, port }: URL, allow: readonly string[]): boolean {
  return allow.some((entry) => {
    const [, name = '', allowedPort] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
    if (allowedPort !== undefined && allowedPort !== (port === '' ? DEFAULT_PORTS[protocol] : port)) return false
    return name.startsWith('*.') ? hostname.endsWith(name.slice(1)) : hostname === name
  })
}
