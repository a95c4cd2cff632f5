import { z } from 'zod'
import { ArchiveError } from '../../../errors.ts'
import type { ArchivePart } from '../../../index.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import { ApiError } from '../../errors.ts'
import { define } from '../definition.ts'
import { networking, networkingOf } from '../networking.ts'
import type { Limited } from '../networking.ts'
import { agentCreate, metadata, parse } from '../schema.ts'
import type { AgentCreate } from '../schema.ts'
import { MAX_RESOURCES } from './file-resources.ts'
import { toSessionRow } from './session-resource.ts'
import type { SessionResource, StoredSession } from './session-resource.ts'
import { budget } from './session-schema.ts'

/** The ids of sessions of this API. Others come in under names of their own, and stay outside of it. */
const SESSION_ID = /^sesn_[1-9A-Za-z]{24}$/

const id = z.string().regex(/^\w{1,128}$/)
const at = z.iso.datetime()
const times = { created_at: at, updated_at: at }

interface Kept extends Omit<SessionResource, 'id' | 'agent'> {
  agent: { id: string; version: number } & AgentCreate
  network?: Limited | undefined
}

/** What an archive may have been made to say is checked like what a client sends. */
const kept: z.ZodType<Kept> = z.object({
  agent: z.intersection(
    z.object({ id: z.string().min(1).max(256), version: z.int().min(1) }),
    z.looseObject({}).transform(({ name, description, model, system, tools, mcp_servers, skills }, context) => {
      const shown = { name, description, model, system, tools: shownTools(tools), mcp_servers, skills }
      const params = agentCreate.safeParse(shown)
      if (params.success) return params.data
      context.addIssue({ code: 'custom', message: params.error.issues[0]?.message ?? 'is no agent' })
      return z.NEVER
    }),
  ),
  environment_id: id,
  title: z.string().max(512).nullable(),
  metadata,
  budget: budget.nullable(),
  resources: z
    .array(
      z.discriminatedUnion('type', [
        z.object({ ...times, type: z.literal('file'), id, file_id: id, mount_path: z.string().min(1).max(4_096) }),
        z.object({
          type: z.literal('memory_store'),
          memory_store_id: id,
          access: z.enum(['read_write', 'read_only']),
          instructions: z.string().max(4_096).nullable(),
          name: z.string().max(255),
          description: z.string().max(1_024),
          mount_path: z.string().regex(/^(?:\/mnt\/|\.agent-)?memory\/[a-z0-9-]{1,80}$/),
        }),
      ]),
    )
    .max(MAX_RESOURCES),
  ...times,
  archived_at: at.nullable(),
  network: networking
    .refine(({ type }) => type === 'limited')
    .transform((given) => networkingOf(given, { type: 'unrestricted' }) as Limited)
    .optional(),
})

/** A resolved tool as a request has it: what the server adds by itself is left out. */
const shownTools = (tools: unknown): unknown =>
  JSON.parse(JSON.stringify(tools ?? [], (key, value: unknown) => (key === 'url_sources' ? undefined : value)))

export type ArchivedResources = Pick<ResourceStore, 'get' | 'remove' | 'create'>

/** What this API knows of sessions travels with their exports. */
export const sessionArchive = (resources: ArchivedResources): ArchivePart => ({
  name: 'v1',
  async read(tenant, key) {
    const row = await resources.get('session', tenant, key)
    return row === undefined ? undefined : (JSON.parse(row.body) as object)
  },
  open(value, { tenant, key }) {
    if (!SESSION_ID.test(key)) return undefined
    const session = readSession(value, key)
    return {
      agent: key,
      async write() {
        // One that its session has left behind.
        await resources.remove('session', tenant, key)
        await resources.create(toSessionRow(tenant, session))
      },
    }
  },
})

function readSession(value: unknown, key: string): StoredSession {
  try {
    const { agent, network, ...session } = parse(kept, value)
    const { id: agentId, version, name, description = null, ...params } = agent
    return {
      ...session,
      id: key,
      agent: {
        type: 'agent',
        id: agentId,
        version,
        name,
        description,
        ...define(params),
        execution_identity: { type: 'service_account' },
        multiagent: null,
      },
      // Never: an archive could give the agent of other sessions another definition.
      sharesAgent: false,
      ...(network === undefined ? {} : { network }),
    }
  } catch (cause) {
    if (!(cause instanceof ApiError)) throw cause
    throw new ArchiveError(`what /v1 knew of the session is not as it should be: ${cause.message}`, { cause })
  }
}
