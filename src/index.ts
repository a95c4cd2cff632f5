import './this-node.ts'

export { checkPoolOptions, createPool, DEFAULT_DATA_DIR } from './create-pool.ts'
export type { PoolOptions } from './create-pool.ts'
export { closePool, getPool, initPool } from './process-wide.ts'
export { shutDownWithProcess } from './shutdown.ts'
export type { ShutdownOptions } from './shutdown.ts'
export { Pool } from './pool/pool.ts'
export type { Removal, RetentionReason } from './pool/retention.ts'
export type { StoreHealthStats } from './pool/store-health.ts'
export type { PruneReport } from './pool/pruning.ts'
export type { BackupReport, ExportOptions, ImportOptions } from './pool/upkeep.ts'
export type { PoolStats } from './pool/pool.ts'
export { Session } from './pool/session.ts'
export type { OnBusy, SendOptions, SessionInfo } from './pool/session.ts'
export type { SessionOptions } from './pool/sessions.ts'
export type { MessageContent, PromptMetadata, TurnInput } from './pool/input.ts'
export { toolUseEventId } from './pool/turn-events.ts'
export type { EventOptions, JournalEntry, SessionEvents } from './pool/event-reader.ts'
export type { NumberedEvent } from './pool/journal.ts'
export type { EventContent, EventPreview, NewSessionEvent, SessionEvent } from './pool/session-event.ts'
export type { OnLeave, Turn, Warmth } from './pool/turn.ts'
export type {
  AgentOptions,
  ClientToolCall,
  PoolCanUseTool,
  PoolOnElicitation,
  PrepareTurn,
  WorkerContext,
} from './pool/agent.ts'
export type { PoolEvents, TurnSummary, WorkerDetails, WorkerInfo } from './pool/events.ts'
export type { Totals } from './pool/counters.ts'
export type { QueryPrompt } from './pool/query.ts'
export type { DepartureReason, SessionRef, WorkerPurpose } from './worker/worker.ts'
export type { WorkerState } from './worker/lifecycle.ts'
export type { Logger } from './telemetry/log.ts'
export type { Clock } from './clock.ts'
export type { MemoryStats } from './memory/governor.ts'
export type { PressureLevel } from './memory/pressure.ts'
export type { MemoryRoom } from './memory/limit.ts'
export type { MemorySource } from './memory/source.ts'
export type { MeasuredWorker } from './memory/usage.ts'
export type {
  EventRange,
  EventTotals,
  SessionPage,
  SessionRecord,
  Store,
  StoredEvent,
  TranscriptEntry,
  TranscriptInfo,
  TranscriptKey,
  Usage,
  UsageRecord,
} from './store/store.ts'
export type { AgentProcess, Driver, ProcessInfo, StartSpec, TerminateReport, TerminateStage } from './driver/driver.ts'
export type { AdmissionOptions } from './options/admission.ts'
export type { ApiOptions } from './options/api.ts'
export type { AgentLimitOptions, LimitOptions, TurnLimitOptions } from './options/limits.ts'
export type { Pattern, ResidencyOptions } from './options/residency.ts'
export type { RetentionOptions, RetentionRuleOptions } from './options/retention.ts'
export type { SpareOptions } from './options/spares.ts'
export type { StartOptions } from './options/starts.ts'
export {
  ArchiveError,
  AuthenticationError,
  CapacityError,
  ConfigError,
  ErrorResultError,
  FilesError,
  HostRunningError,
  PoolClosedError,
  PoolError,
  QueryEndedError,
  ResumeError,
  SessionBusyError,
  SessionConflictError,
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
