import '../this-node.ts'

export { createServer } from './app.ts'
export type { Server, ServerParts } from './app.ts'
export { readConnectionLimits } from './connections.ts'
export { checkExposure, listen } from './listen.ts'
export type { ListenOptions, Listening } from './listen.ts'
export type { ServerState } from './context.ts'
export type {
  AgUiOptions,
  ApiKeyOptions,
  JwtOptions,
  ServerConfig,
  ServerOptions,
  TenantLimitOptions,
} from './options.ts'
export type { Define, DefinitionRules, ManagedAgentsOptions } from './managed-agents/definition-policy.ts'
export type { ConnectionOptions } from './connections.ts'
export { currentRequest } from './request-scope.ts'
export type { RequestScope } from './request-scope.ts'
export { hashKey } from './auth.ts'
export type { OnDisconnect } from './turn-feed.ts'
export { jsonLog, LOG_LEVELS } from './log.ts'
export type { LogLevel } from './log.ts'
export { parseKeyList, readServerConfig, readServerOptions } from './options.ts'
export { ClientTools } from './ag-ui/client-tools.ts'
export { Questions } from './questions.ts'
export type { Answer, AnswerFate, Question, QuestionsOptions } from './questions.ts'
