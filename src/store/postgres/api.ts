import type { ApiStore } from '../api-store.ts'
import { PostgresAnswers } from './api-answers.ts'
import { PostgresResources } from './api-resources.ts'
import { PostgresTokens } from './api-tokens.ts'
import type { Connections } from './connections.ts'

/** What servers keep beside the sessions, for all hosts. */
export class PostgresApiStore implements ApiStore {
  readonly resources: PostgresResources
  readonly answers: PostgresAnswers
  readonly tokens: PostgresTokens

  /** `host`: the id of this one, if it has one. */
  constructor(connections: Connections, host: () => number | undefined) {
    this.resources = new PostgresResources(connections)
    this.answers = new PostgresAnswers(connections, host)
    this.tokens = new PostgresTokens(connections)
  }
}
