import { resolve } from 'node:path'
import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { readAdmission } from '../options/admission.ts'
import type { AdmissionOptions } from '../options/admission.ts'
import { readApi } from '../options/api.ts'
import type { ApiOptions } from '../options/api.ts'
import { readBudgets } from '../options/budgets.ts'
import type { BudgetsOptions } from '../options/budgets.ts'
import { checkCluster } from '../options/cluster.ts'
import type { ClusterOptions } from '../options/cluster.ts'
import { readIsolation } from '../options/isolation.ts'
import type { IsolationOptions } from '../options/isolation.ts'
import { readLimits } from '../options/limits.ts'
import type { LimitOptions } from '../options/limits.ts'
import { readResidency } from '../options/residency.ts'
import type { ResidencyOptions } from '../options/residency.ts'
import { readRetention } from '../options/retention.ts'
import type { RetentionOptions } from '../options/retention.ts'
import { validate } from '../options/section.ts'
import { readStarts } from '../options/starts.ts'
import type { StartOptions } from '../options/starts.ts'
import { isStore, readPostgres } from '../options/store.ts'
import type { PostgresOptions } from '../options/store.ts'
import { readTelemetry } from '../options/telemetry.ts'
import type { TelemetryOptions } from '../options/telemetry.ts'

/** What a config holds: the options of createPool(). Its agents are checked there, by the readers of agents. */
export interface ConfigOptions {
  readonly agents: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly dataDir?: string
  readonly api?: ApiOptions
  readonly isolation?: IsolationOptions
  readonly budgets?: BudgetsOptions
  readonly limits?: LimitOptions
  readonly admission?: AdmissionOptions
  readonly residency?: ResidencyOptions
  readonly starts?: StartOptions
  readonly retention?: RetentionOptions
  readonly cluster?: ClusterOptions
  readonly telemetry?: TelemetryOptions
  /** `store` is `{ postgres }` or an object. `logger`, `driver`, `clock`: objects that only code can give. */
  readonly [other: string]: unknown
}

const record = z.record(z.string(), z.unknown(), { error: 'must be a map of options' })

const shape = z.looseObject(
  {
    agents: z.record(z.string(), record, {
      error: 'must be a map of agents by name, like { assistant: {} }',
    }),
    dataDir: z.string({ error: 'must be a path' }).min(1, 'is empty').optional(),
  },
  { error: 'must be a map of options with at least "agents"' },
)

/** Checks all but the agents' own options, and takes relative paths as relative to the config's folder. Throws ConfigError. */
export function checkShape(value: unknown, folder: string): ConfigOptions {
  const { agents, dataDir, store, cluster, ...rest } = validate('', shape, value) as ConfigOptions
  readLimits(rest.limits)
  readAdmission(rest.admission)
  readResidency(rest.residency)
  readStarts(rest.starts)
  readRetention(rest.retention)
  readApi(rest.api)
  readIsolation(rest.isolation)
  readBudgets(rest.budgets)
  readTelemetry(rest.telemetry)
  return {
    ...rest,
    ...(store === undefined ? {} : { store: placedStore(store, folder) }),
    ...(cluster === undefined ? {} : { cluster: placedCluster(cluster, folder) }),
    ...(dataDir === undefined ? {} : { dataDir: resolve(folder, dataDir) }),
    agents: Object.fromEntries(Object.entries(agents).map(([name, agent]) => [name, placed(name, agent, folder)])),
  }
}

/** A store of the config's own is left as it is. */
function placedStore(store: unknown, folder: string): unknown {
  if (isStore(store)) return store
  readPostgres(store)
  const { passwordFile, ...database } = store as PostgresOptions
  return passwordFile === undefined ? database : { ...database, passwordFile: resolve(folder, passwordFile) }
}

/** Whether a secret is needed is checked with what the environment says. */
function placedCluster(cluster: unknown, folder: string): ClusterOptions {
  const { secretFile, ...others } = checkCluster(cluster)
  return secretFile === undefined ? others : { ...others, secretFile: resolve(folder, secretFile) }
}

function placed(name: string, agent: Readonly<Record<string, unknown>>, folder: string): Record<string, unknown> {
  const { cwd } = agent
  if (cwd === undefined) return agent
  if (typeof cwd !== 'string') throw new ConfigError(`agents.${name}.cwd`, 'must be a path')
  return { ...agent, cwd: resolve(folder, cwd) }
}
