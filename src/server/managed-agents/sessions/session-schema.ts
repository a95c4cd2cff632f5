import { z } from 'zod'
import type { SentBlock } from '../../content-block.ts'
import { agentOverrides, metadata, metadataPatch, unsupported } from '../schema.ts'
import type { AgentOverrides, MetadataPatch } from '../schema.ts'
import { memoryMount } from '../memory/memory-mounts.ts'
import type { MemoryMount } from '../memory/memory-mounts.ts'
import { MAX_RESOURCES, fileMount } from './file-resources.ts'
import type { FileMount } from './file-resources.ts'

const MAX_EVENTS = 50

const MAX_INITIAL_EVENTS = 50

/** What a client may send. */
export type SentEvent =
  | { type: 'user.message'; content: SentBlock[] }
  | { type: 'user.interrupt'; session_thread_id?: string | null | undefined }
  | {
      type: 'user.tool_confirmation'
      tool_use_id: string
      result: 'allow' | 'deny'
      deny_message?: string | null | undefined
    }
  | {
      type: 'user.custom_tool_result'
      custom_tool_use_id: string
      content?: SentBlock[] | undefined
      is_error?: boolean | null | undefined
    }
  | { type: 'system.message'; content: { type: 'text'; text: string }[] }

/** An enforced ceiling of what a session may cost. */
export interface Budget {
  type: 'limit'
  max_list_cost: { amount: string; currency: 'USD' }
}

/** Which agent a session is to run. */
export interface AgentChoice extends AgentOverrides {
  id: string
  type: 'agent' | 'agent_with_overrides'
  version?: number | undefined
}

export interface SessionCreate {
  agent: AgentChoice
  environment_id: string
  budget?: Budget | undefined
  initial_events?: Extract<SentEvent, { type: 'user.message' }>[] | undefined
  metadata?: Record<string, string> | undefined
  resources?: (FileMount | MemoryMount)[] | undefined
  title?: string | null | undefined
  vault_ids?: string[] | undefined
}

export interface SessionUpdate {
  agent?: Pick<AgentOverrides, 'tools' | 'mcp_servers'> | undefined
  /** Null removes it. */
  budget?: Budget | null | undefined
  metadata?: MetadataPatch | undefined
  title?: string | null | undefined
}

const resourceMount: z.ZodType<FileMount | MemoryMount> = z
  .looseObject({ type: z.enum(['file', 'memory_store'], { error: 'must be file or memory_store' }) })
  .transform((value): unknown => value)
  .pipe(z.union([fileMount, memoryMount]))

/** A field that may not be there. */
const refused = (error: string): z.ZodType<undefined> => z.undefined({ error }).optional()

const text = z.strictObject({ type: z.literal('text'), text: z.string().min(1) })

const base64 = z.strictObject({ type: z.literal('base64'), data: z.string().min(1), media_type: z.string().min(1) })

const url = z.strictObject({ type: z.literal('url'), url: z.url({ protocol: /^https?$/ }) })

const file = z.strictObject({ type: z.literal('file'), file_id: z.string().min(1).max(128) })

const noSource = 'must be base64, text, url or file'

const block: z.ZodType<SentBlock> = z.discriminatedUnion(
  'type',
  [
    text,
    z.strictObject({
      type: z.literal('image'),
      source: z.discriminatedUnion('type', [base64, url, file], { error: noSource }),
    }),
    z.strictObject({
      type: z.literal('document'),
      source: z.discriminatedUnion(
        'type',
        [
          base64,
          z.strictObject({ type: z.literal('text'), data: z.string(), media_type: z.literal('text/plain') }),
          url,
          file,
        ],
        { error: noSource },
      ),
      title: z.string().nullish(),
      context: z.string().nullish(),
    }),
  ],
  { error: 'must be text, image or document' },
)

/** Of one session. */
const MOST_VAULTS = 10

const userMessage = z.strictObject({ type: z.literal('user.message'), content: z.array(block).min(1) })

const id = z.string().min(1).max(128)

const KNOWN_SENT = 'user.message, user.interrupt, user.tool_confirmation, user.custom_tool_result, system.message'

const sent: z.ZodType<SentEvent> = z.discriminatedUnion(
  'type',
  [
    userMessage,
    z.strictObject({ type: z.literal('user.interrupt'), session_thread_id: z.null().optional() }),
    z
      .strictObject({
        type: z.literal('user.tool_confirmation'),
        tool_use_id: id,
        result: z.enum(['allow', 'deny']),
        deny_message: z.string().max(10_000).nullish(),
      })
      .refine(({ result, deny_message }) => result === 'deny' || typeof deny_message !== 'string', {
        path: ['deny_message'],
        error: 'goes with the result "deny" alone; leave it out',
      }),
    z.strictObject({
      type: z.literal('user.custom_tool_result'),
      custom_tool_use_id: id,
      content: z.array(block).optional(),
      is_error: z.boolean().nullish(),
    }),
    z.strictObject({ type: z.literal('system.message'), content: z.array(text).min(1) }),
  ],
  { error: `type must be one of ${KNOWN_SENT}` },
)

export const eventSend: z.ZodType<{ events: SentEvent[] }> = z.strictObject({
  events: z.array(sent).min(1).max(MAX_EVENTS),
})

export const budget: z.ZodType<Budget> = z.strictObject({
  type: z.literal('limit'),
  max_list_cost: z.strictObject({
    amount: z.string().regex(/^[1-9]\d{0,9}$/, 'must be whole cents as a string, like "125"'),
    currency: z.literal('USD'),
  }),
})

const reference = { id, version: z.int().min(1).optional() }

const withoutOverrides = refused('only an agent of type agent_with_overrides takes it')

const agentChoice: z.ZodType<AgentChoice> = z.union([
  id.transform((value) => ({ type: 'agent' as const, id: value })),
  z.intersection(
    z.discriminatedUnion(
      'type',
      [
        z.strictObject({
          ...reference,
          type: z.literal('agent'),
          model: withoutOverrides,
          system: withoutOverrides,
          tools: withoutOverrides,
          mcp_servers: withoutOverrides,
        }),
        z.strictObject({ ...reference, type: z.literal('agent_with_overrides') }),
      ],
      { error: 'type must be agent or agent_with_overrides' },
    ),
    agentOverrides,
  ),
])

const fixed = refused('cannot change in a session; only tools and mcp_servers can')

const agentUpdate: z.ZodType<SessionUpdate['agent']> = z.intersection(
  z.strictObject({ model: fixed, system: fixed }),
  agentOverrides,
)

export const sessionCreate: z.ZodType<SessionCreate> = z.strictObject({
  agent: agentChoice,
  environment_id: id,
  budget: budget.optional(),
  initial_events: z
    .array(
      z.discriminatedUnion('type', [userMessage], { error: 'type must be user.message; outcomes are not supported' }),
    )
    .max(MAX_INITIAL_EVENTS)
    .optional(),
  metadata: metadata.optional(),
  resources: z.array(resourceMount).max(MAX_RESOURCES).optional(),
  title: z.string().max(512).nullish(),
  vault_ids: z.array(id).max(MOST_VAULTS).optional(),
})

export const sessionUpdate: z.ZodType<SessionUpdate> = z.strictObject({
  agent: agentUpdate.optional(),
  budget: budget.nullish(),
  metadata: metadataPatch.optional(),
  title: z.string().max(512).nullish(),
  vault_ids: unsupported('vault_ids').optional(),
})
