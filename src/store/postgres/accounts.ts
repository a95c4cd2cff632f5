import { randomUUID } from 'node:crypto'
import type { Budget, BudgetAccount, Spending, Store } from '../store.ts'
import type { Connections } from './connections.ts'

interface Row {
  period: string | null
  tokens: number
  cost_usd: number
  budget: string | null
}

/**
 * Adds once, also when it is repeated after an unknown outcome. A session may have gone meanwhile: the next one of its name begins
 * with nothing.
 */
const SPEND = `
WITH once AS (INSERT INTO pool.spendings (id) VALUES ($7) ON CONFLICT DO NOTHING RETURNING id),
over AS (DELETE FROM pool.spendings WHERE id = $8 OR at < clock_timestamp() - interval '1 day')
INSERT INTO pool.accounts AS a (scope, tenant, name, period, tokens, cost_usd)
SELECT $1::text, $2::text, $3::text, $4, $5, $6 FROM once
WHERE $1 <> 'session' OR EXISTS (SELECT 1 FROM pool.sessions WHERE tenant = $2 AND key = $3)
ON CONFLICT (scope, tenant, name) DO UPDATE SET
  period = excluded.period,
  tokens = excluded.tokens + CASE WHEN a.period = excluded.period THEN a.tokens ELSE 0 END,
  cost_usd = excluded.cost_usd + CASE WHEN a.period = excluded.period THEN a.cost_usd ELSE 0 END`

const idOf = ({ scope, tenant, name }: BudgetAccount): [string, string, string] => [scope, tenant, name]

/** Budgets, and what was used of them. */
export class Accounts {
  readonly #connections: Connections
  #lastSpending = ''

  constructor(connections: Connections) {
    this.#connections = connections
  }

  async read(account: BudgetAccount): ReturnType<Store['readAccount']> {
    const [row] = await this.#connections.read<Row>({
      text: 'SELECT period, tokens, cost_usd, budget FROM pool.accounts WHERE scope = $1 AND tenant = $2 AND name = $3',
      values: idOf(account),
    })
    if (row === undefined) return { spent: undefined, budget: undefined }
    const { period, tokens, cost_usd: costUsd, budget } = row
    return {
      spent: period === null ? undefined : { period, tokens, costUsd },
      budget: budget === null ? undefined : (JSON.parse(budget) as Budget),
    }
  }

  /** One at a time. */
  async spend(account: BudgetAccount, { period, tokens, costUsd }: Spending): Promise<void> {
    const id = randomUUID()
    const values = [...idOf(account), period, tokens, costUsd, id, this.#lastSpending]
    await this.#connections.persist(() => this.#connections.once({ name: 'spend', text: SPEND, values }))
    this.#lastSpending = id
  }

  async setBudget(account: BudgetAccount, budget: Budget | undefined): Promise<void> {
    const text = `INSERT INTO pool.accounts (scope, tenant, name, budget) VALUES ($1, $2, $3, $4)
      ON CONFLICT (scope, tenant, name) DO UPDATE SET budget = excluded.budget`
    const values = [...idOf(account), budget === undefined ? null : JSON.stringify(budget)]
    await this.#connections.persist(() => this.#connections.once({ text, values }))
  }
}
