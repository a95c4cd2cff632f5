import type { AgentResource } from '../agents.ts'
import { toRow } from '../kept.ts'
import type { Resource } from '../../../store/api-store.ts'
import type { Limited } from '../networking.ts'
import type { MemoryResource } from '../memory/memory-mounts.ts'
import type { FileResource } from './file-resources.ts'
import type { Budget } from './session-schema.ts'

/** The agent of a session: as it was when that was created. */
export type SessionAgent = Omit<AgentResource, 'created_at' | 'updated_at' | 'archived_at' | 'metadata'>

/** What the wire shows of a session, less what the pool knows of it. */
export interface SessionResource {
  id: string
  agent: SessionAgent
  environment_id: string
  title: string | null
  metadata: Record<string, string>
  budget: Budget | null
  resources: (FileResource | MemoryResource)[]
  created_at: string
  updated_at: string
  archived_at: string | null
}

/** What is kept of a session beside the pool. */
export interface StoredSession extends SessionResource {
  /** Sessions of one version of an agent share the pool's agent, and so its spares; one with something of its own has its own. */
  sharesAgent: boolean
  /** Vaults whose credentials its MCP servers get. */
  vault_ids?: string[]
  /** The names of its agent’s skills, once their files are in its workspace. */
  skillNames?: string[]
  /** The network of its environment as it was then, if that is limited. */
  network?: Limited
}

const CENT = 0.01

export const dollarsOf = ({ max_list_cost: { amount } }: Budget): number => Number(amount) * CENT

/** Dollars as whole cents. */
export const centsOf = (dollars: number): string => (dollars / CENT).toFixed(0)

export const toSessionRow = (tenant: string, session: StoredSession): Resource =>
  toRow('session', tenant, session, session.agent.id)
