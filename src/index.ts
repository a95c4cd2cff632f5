import './this-node.ts'

export { checkPoolOptions, createPool, DEFAULT_DATA_DIR } from './create-pool.ts'
export type { PoolOptions } from './create-pool.ts'
export { closePool, getPool, initPool } from './process-wide.ts'
export { shutDownWithProcess } from './shutdown.ts'
export type { ShutdownOptions } from './shutdown.ts'
export { Pool } from './pool/pool.ts'
export type { TenantDiskUse } from './maintenance/disk-use.ts'
export type { StoreHealthStats } from './pool/store-health.ts'
export type { PruneReport } from './maintenance/prune.ts'
export type { PoolCluster } from './pool/cluster.ts'
export type { Peer, PeerAnswer, PeerCall } from './cluster/peer-client.ts'
export type { PeerService } from './cluster/peer-port.ts'
export type { PeerQuestion, SessionPlace } from './cluster/peers.ts'
export type { IsolationStats, PoolStats } from './pool/pool.ts'
export type { ModelAnswer, ModelRequest } from './fleet/model-calls.ts'
export { Session } from './sessions/session.ts'
export type { SessionOptions } from './sessions/sessions.ts'
export type { MessageContent, PromptMetadata, TurnInput } from './turns/prompt.ts'
export type { EventOptions, JournalEntry, SessionEvents } from './journal/event-reader.ts'
export type { NumberedEvent } from './journal/journal.ts'
export type { EventContent, EventPreview, NewSessionEvent, SessionEvent } from './journal/session-event.ts'
export type { OnLeave, Turn } from './turns/turn.ts'
export type { FollowOptions, OnSlow, TurnFollower, TurnMessage } from './turns/turn-log.ts'
export type {
  AgentOptions,
  ClientToolCall,
  PoolCanUseTool,
  PoolOnElicitation,
  PrepareTurn,
  WorkerContext,
} from './agents/agent.ts'
export type {
  OldestWaiter,
  PoolEvents,
  Removal,
  RetentionReason,
  TurnInfo,
  TurnSummary,
  WaitStats,
  WorkerDetails,
  WorkerInfo,
} from './events.ts'
export type { WorkerClosing } from './fleet/close-worker.ts'
export type { Totals } from './pool/counters.ts'
export type { QueryPrompt } from './queries/query.ts'
export type { CloseReason } from './worker/worker.ts'
export type { WorkerState } from './worker/lifecycle.ts'
export type { Logger } from './telemetry/log.ts'
export type { Clock } from './clock.ts'
export type { MemoryStats } from './memory/governor.ts'
export type { PressureLevel } from './memory/pressure.ts'
export type { MemoryRoom } from './memory/limit.ts'
export type { MemorySource } from './memory/source.ts'
export type { MeasuredWorker } from './memory/tree-memory.ts'
export type {
  Budget,
  BudgetAccount,
  ClaimedSession,
  EventRange,
  EventTotals,
  HostDirectory,
  HostFacts,
  HostInfo,
  HostReport,
  Beat,
  ModelStep,
  PhaseStep,
  PhaseTimes,
  SessionClaim,
  HostOfSession,
  SessionPage,
  SessionRecord,
  Spending,
  Store,
  StoredEvent,
  TranscriptEntry,
  TranscriptInfo,
  TranscriptKey,
  TokensByKind,
  ToolStep,
  TurnPhase,
  TurnPhaseName,
  TurnStep,
  Usage,
  UsageRecord,
  SessionInfo,
  SessionRef,
} from './store/store.ts'
export type { AgentProcess, Driver, ProcessInfo, StartSpec, TerminateReport, TerminateStage } from './driver/driver.ts'
export type { AdmissionOptions } from './options/admission.ts'
export type { ApiOptions, TenantApiOptions } from './options/api.ts'
export type { ClusterOptions } from './options/cluster.ts'
export type { BudgetOptions, BudgetsOptions, PriceOptions } from './options/budgets.ts'
export type { TelemetryOptions } from './options/telemetry.ts'
export type { IsolationOptions } from './options/isolation.ts'
export type { RemoteOptions } from './options/remotes.ts'
export type { AgentLimitOptions, LimitOptions, TurnLimitOptions } from './options/limits.ts'
export type { Pattern, ResidencyOptions } from './options/residency.ts'
export type { RetentionOptions, RetentionRuleOptions } from './options/retention.ts'
export type { SpareOptions } from './options/spares.ts'
export type { StartOptions } from './options/starts.ts'
export type { PostgresOptions } from './options/store.ts'
export {
  ArchiveError,
  AuthenticationError,
  BudgetError,
  CapacityError,
  ConfigError,
  ErrorResultError,
  FilesError,
  FencedError,
  HostRunningError,
  PoolClosedError,
  PoolError,
  QueryEndedError,
  ResumeError,
  SessionBusyError,
  SessionConflictError,
  SessionElsewhereError,
  SessionGoneError,
  StartError,
  StartRefusedError,
  StoreError,
  TurnInterruptedError,
  TurnTimeoutError,
  WorkerExitedError,
  WorkerMemoryError,
} from './errors.ts'
export type {
  CapacityFacts,
  CapacityReason,
  ExitCause,
  ExitFacts,
  FileProblem,
  FileProblemReason,
  PoolErrorCode,
  StartPhase,
  StoreErrorCode,
} from './errors.ts'
export type { OnBusy, SendOptions } from './turns/send.ts'
export { toolUseEventId } from './journal/session-event.ts'
export type { Warmth, WorkerPurpose } from './worker/warmth.ts'
export type { ArchivePart, OpenPart } from './maintenance/archive-part.ts'
export type { BackupReport } from './maintenance/backup.ts'
export type { ExportOptions } from './maintenance/export-session.ts'
export type { ImportOptions } from './maintenance/import-session.ts'
