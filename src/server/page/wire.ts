import type {
  MemoryStats,
  PoolStats,
  SessionEvent,
  SessionInfo,
  TurnInfo,
  TurnPhaseName,
  TurnSummary,
  WorkerDetails,
  WorkerInfo,
} from '../../index.ts'

export type { PhaseTimes, TurnPhase, TurnPhaseName } from '../../index.ts'
import type { Verdict } from '../../telemetry/verdict.ts'

/** What the operator's page and its server send each other. Types alone: the page imports them, too. */

/** Each request of the page has it: no form and no page of another origin can send it without being asked first. */
export type PageHeader = 'x-claude-agent-pool-page'

/** A session of the list. */
export interface SessionRow {
  tenant: string
  key: string
  agent: string
  state: SessionInfo['state']
  turns: number
  tokens: number
  costUsd: number
  createdAt: number
  lastUsedAt: number
  /** What its turn does; left out while none runs. */
  phase?: TurnInfo['phase']
}

/** By what a list of sessions is sorted. */
export type SortKey = 'phase' | 'session' | 'agent' | 'state' | 'turns' | 'tokens' | 'cost' | 'created' | 'used'

/** Which part of the sessions the page shows. */
export interface ListView {
  /** Each of its words is in a session's tenant, key, agent, state or phase. */
  search: string
  sort: SortKey
  descending: boolean
  offset: number
  limit: number
}

/** What the page shows, and so what its stream carries. */
export interface View {
  list?: ListView | undefined
  session?: { tenant: string; key: string } | undefined
  workers?: boolean | undefined
}

/** A worker of the lists. */
export type WorkerRow = Pick<
  WorkerInfo,
  | 'id'
  | 'pid'
  | 'agent'
  | 'tenant'
  | 'session'
  | 'state'
  | 'purpose'
  | 'startedAt'
  | 'lastUsedAt'
  | 'turns'
  | 'memoryBytes'
  | 'pinnedBy'
> & { processes: number; phase?: TurnInfo['phase'] }

/** An agent, and what its workers were found to need. */
export interface AgentRow {
  name: string
  model: string | undefined
  permissionMode: string | undefined
  needs: MemoryStats['agents'][string] | undefined
  workers: number
  running: number
}

/** Something that an operator should know. */
export interface Notice {
  at: number
  level: 'info' | 'warn' | 'error'
  what: string
  detail?: string
  session?: { tenant: string; key: string }
  worker?: string
}

/** A host of the sessions: this one, or one that shares its database, as of its last beat. */
export interface HostRow {
  /** The machine's name, or the place of a host among others. */
  name: string
  state: string
  version: string
  running: number
  waiting: number
  /** Turns that it has room for. */
  free: number
  /** What only the host itself knows. */
  here?: { pid: number; node: string; startedAt: number; rssBytes: number }
}

/** One point of the charts. */
export interface Sample {
  at: number
  running: number
  waiting: number
  usedBytes: number
  refused: number
}

/** One phase of a timeline. */
export interface PhaseSpan {
  name: TurnPhaseName
  /** As in `TurnPhase`. */
  detail?: string
  ms: number
}

/** Requests of a turn to the model. */
export interface ModelFigures {
  requests: number
  failed: number
  /** Until the first piece of an answer, on average; undefined if none came in pieces. */
  firstTokenMs: number | undefined
  tokensPerSecond: number | undefined
}

interface Times {
  /** The phases one after the other. */
  timeline: PhaseSpan[]
  /** Undefined if the model was not asked. */
  model: ModelFigures | undefined
}

/** A turn that has ended. */
export interface ShownTurn extends Omit<TurnSummary, 'session' | 'steps' | 'traceparent' | 'sdkSessionId'>, Times {}

/** The turn of a session that has not ended. */
export interface RunningTurn extends Omit<TurnInfo, 'steps'>, Times {}

/** What waits for an answer. */
export interface OpenQuestion {
  id: string
  kind: string
  message: string
  tool: { name: string; input: Record<string, unknown> } | undefined
  schema: Record<string, unknown> | undefined
  askedAt: number
  expiresAt: number
}

/** The parts of the stream. Each is a table of values by their key; a delta has the changed ones. */
export interface Sections {
  overview: {
    verdict: Verdict
    turns: PoolStats['turns']
    waits: PoolStats['waits']
    suspended: PoolStats['suspended']
    workers: PoolStats['workers']
    starts: PoolStats['starts']
    memory: Omit<MemoryStats, 'agents'>
    store: PoolStats['store']
    totals: PoolStats['totals']
    usage: { tenant: string; agent: string; tokens: number; costUsd: number }[]
    phases: Record<string, number>
    /** Why a turn that came now would be refused; null: it would not. */
    obstacle: string | null
    recentlyShed: number
    sessions: { listed: number; active: number; complete: boolean }
  }
  hosts: Record<string, HostRow>
  agents: Record<string, AgentRow>
  notices: Record<string, Notice>
  samples: Record<string, Sample>
  workers: Record<string, WorkerRow>
  /** By tenant and key, with the place of each and how many there are. */
  list: Record<string, SessionRow> & { order?: never }
  listed: { total?: number; offset?: number; order?: string[] }
  session: {
    info?: SessionInfo | null
    turn?: RunningTurn | null
    worker?: WorkerDetails | null
    questions?: OpenQuestion[]
    /** Why it cannot be shown. */
    problem?: string | null
  }
  turns: Record<string, ShownTurn>
}

/** Of one section: values that are new or have changed, and keys that are gone. */
export interface SectionDelta {
  set?: Record<string, unknown>
  gone?: string[]
  /** What was there before goes: another view. */
  fresh?: true
}

/** An event of a session, or a part of the next one. Long texts are cut. */
export interface ShownEvent {
  number?: number
  event: SessionEvent | { type: 'event_start' | 'event_delta'; [key: string]: unknown }
}

/** `event: hello`, the first frame of a stream. */
export interface Hello {
  /** Names the stream when its view changes. */
  stream: string
  operator: string
  /** Whether the server asked for a key. */
  keyed: boolean
  canDrain: boolean
  agents: string[]
  version: string
  now: number
}

/** `event: delta`. */
export interface Delta {
  /** The server's time, in milliseconds since the epoch. */
  now: number
  sections?: Partial<Record<keyof Sections, SectionDelta>>
  /** New events of the session that is shown. */
  events?: ShownEvent[]
  /** The events before were of another session. */
  freshEvents?: true
}

/** `POST /page/action`. */
export type Action =
  | { do: 'interrupt' | 'hibernate'; tenant: string; key: string }
  | { do: 'closeWorker'; id: string; now?: boolean | undefined }
  | { do: 'suspend' | 'resume'; tenant?: string | undefined }
  | { do: 'drain' }
  | { do: 'pruneDryRun' }
  | { do: 'send'; tenant: string; key: string; agent?: string | undefined; prompt: string }
  | {
      do: 'answer'
      tenant: string
      key: string
      id: string
      allow: boolean
      content?: Record<string, unknown> | undefined
    }
