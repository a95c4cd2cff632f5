import '../this-node.ts'

export { createServer } from './app.ts'
export type { Server, ServerParts } from './app.ts'
export type {
  AnswerStore,
  ApiStore,
  KeptAnswer,
  KeptRequest,
  ReadBounds,
  RequestName,
  Resource,
  ResourceKind,
  ResourceQuery,
  ResourceStore,
  Rows,
  StoredToken,
  TokenStore,
  VersionQuery,
  VersionRow,
} from '../store/api-store.ts'
export { readConnectionLimits } from './http/connections.ts'
export { checkExposure, checkOperationsExposure, listen } from './listen.ts'
export type { ListenOptions, Listening } from './listen.ts'
export type { ServerState } from './context.ts'
export type {
  AgUiOptions,
  ApiKeyOptions,
  JwtOptions,
  OperationsOptions,
  OperatorOptions,
  ServerConfig,
  ServerOptions,
  TenantLimitOptions,
} from './options.ts'
export type {
  Define,
  DefinitionRules,
  ManagedAgentsOptions,
  TenantManagedAgentsOptions,
} from './managed-agents/definition-policy.ts'
export type { VaultKeyOptions, VaultsOption } from './managed-agents/vaults/vault-keys.ts'
export type { WebhookOptions, WebhooksOption } from './managed-agents/webhooks/options.ts'
export type { WebhookEventType } from './managed-agents/webhooks/event-types.ts'
export type { ConnectionOptions } from './http/connections.ts'
export { currentRequest } from '../telemetry/request-scope.ts'
export type { RequestScope } from '../telemetry/request-scope.ts'
export { hashKey } from './auth/authenticator.ts'
export type { OnDisconnect } from './turn-feeds.ts'
export { jsonLog, LOG_LEVELS } from './log.ts'
export type { LogLevel } from './log.ts'
export { parseKeyList, parseOperatorKeys, readServerConfig, readServerOptions } from './options.ts'
export { ClientTools } from './ag-ui/client-tools.ts'
export { Questions } from './questions.ts'
export type { Answer, AnswerFate, Question, QuestionsOptions } from './questions.ts'
