import type { ApiStore } from '../api-store.ts'
import { PostgresAnswers } from './api-answers.ts'
import { PostgresResources } from './api-resources.ts'
import { PostgresTokens } from './api-tokens.ts'
import type { Connections } from './connections.ts'

const ERASE = `
WITH versions AS (DELETE FROM pool.resource_versions WHERE tenant = $1),
answers AS (DELETE FROM pool.answers WHERE tenant = $1),
tokens AS (DELETE FROM pool.browser_tokens WHERE tenant = $1)
DELETE FROM pool.resources WHERE tenant = $1`

/** What servers keep beside the sessions, for all hosts. */
export class PostgresApiStore implements ApiStore {
  readonly resources: PostgresResources
  readonly answers: PostgresAnswers
  readonly tokens: PostgresTokens

  readonly #connections: Connections

  /** `host`: the id of this one, if it has one. */
  constructor(connections: Connections, host: () => number | undefined) {
    this.#connections = connections
    this.resources = new PostgresResources(connections)
    this.answers = new PostgresAnswers(connections, host)
    this.tokens = new PostgresTokens(connections)
  }

  async eraseTenant(tenant: string): Promise<void> {
    await this.#connections.persist(() => this.#connections.once({ text: ERASE, values: [tenant] }))
  }
}
