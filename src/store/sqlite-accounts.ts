import type { SqliteDatabase } from './sqlite-database.ts'
import type { Budget, BudgetAccount, Spending, Store } from './store.ts'

interface Row {
  period: string | null
  tokens: number
  cost_usd: number
  budget: string | null
}

const WHERE = 'WHERE scope = ? AND tenant = ? AND name = ?'

const idOf = ({ scope, tenant, name }: BudgetAccount): [string, string, string] => [scope, tenant, name]

export function readAccount(
  database: SqliteDatabase,
  account: BudgetAccount,
): Awaited<ReturnType<Store['readAccount']>> {
  const row = database.one<Row>(`SELECT period, tokens, cost_usd, budget FROM accounts ${WHERE}`, ...idOf(account))
  if (row === undefined) return { spent: undefined, budget: undefined }
  const { period, tokens, cost_usd: costUsd, budget } = row
  return {
    spent: period === null ? undefined : { period, tokens, costUsd },
    budget: budget === null ? undefined : (JSON.parse(budget) as Budget),
  }
}

export function spend(database: SqliteDatabase, account: BudgetAccount, { period, tokens, costUsd }: Spending): void {
  database.run(
    // A session may have gone meanwhile: the next one of its name begins with nothing.
    `INSERT INTO accounts (scope, tenant, name, period, tokens, cost_usd) SELECT ?, ?, ?, ?, ?, ?
     WHERE ? <> 'session' OR EXISTS (SELECT 1 FROM sessions WHERE tenant = ? AND key = ?)
     ON CONFLICT (scope, tenant, name) DO UPDATE SET (period, tokens, cost_usd) = (
       excluded.period,
       excluded.tokens + CASE WHEN period IS excluded.period THEN tokens ELSE 0 END,
       excluded.cost_usd + CASE WHEN period IS excluded.period THEN cost_usd ELSE 0 END
     )`,
    ...idOf(account),
    period,
    tokens,
    costUsd,
    ...idOf(account),
  )
}

export function setBudget(database: SqliteDatabase, account: BudgetAccount, budget: Budget | undefined): void {
  database.run(
    `INSERT INTO accounts (scope, tenant, name, budget) VALUES (?, ?, ?, ?)
     ON CONFLICT (scope, tenant, name) DO UPDATE SET budget = excluded.budget`,
    ...idOf(account),
    budget === undefined ? null : JSON.stringify(budget),
  )
}
