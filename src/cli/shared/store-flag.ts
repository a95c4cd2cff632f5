import { hasPassword, isStore } from '../../options/store.ts'

const VARIABLE = 'CLAUDE_AGENT_POOL_STORE'

const SECRET_VARIABLE = 'CLAUDE_AGENT_POOL_CLUSTER_SECRET'

const PASSWORD_VARIABLE = 'CLAUDE_AGENT_POOL_STORE_PASSWORD_FILE'

/** What says where sessions are kept. */
export interface StoreFlag {
  store?: string
}

/** What `--store` with a password means. */
export const PASSWORD_ON_COMMAND_LINE: string = `every process of this machine sees the password of --store; give the address by ${VARIABLE}, or the password by PGPASSFILE or store.passwordFile`

/** True if processes of the machine see the password of the database in the arguments of this one. */
export const showsPassword = ({ store }: StoreFlag): boolean => store !== undefined && hasPassword(store)

/**
 * The options of a config with the store that `--store` names, or else the environment, or else the config. With a database, other hosts
 * of this machine reach the pool unless the config says more.
 */
export function withStore<T extends Readonly<Record<string, unknown>>>(options: T, flag: StoreFlag): T {
  const stored = withDatabase(options, flag)
  const { store, cluster } = stored as { store?: unknown; cluster?: unknown }
  const secret = process.env[SECRET_VARIABLE] ?? ''
  if (store === undefined || isStore(store) || (cluster !== undefined && !isMap(cluster))) return stored
  const { secretFile: _, ...others } = (cluster ?? {}) as Record<string, unknown>
  return { ...stored, cluster: secret === '' ? (cluster ?? {}) : { ...others, secret } }
}

const isMap = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)

function withDatabase<T extends Readonly<Record<string, unknown>>>(options: T, { store }: StoreFlag): T {
  const url = store ?? process.env[VARIABLE] ?? ''
  const passwordFile = process.env[PASSWORD_VARIABLE] ?? ''
  const before: unknown = options['store']
  const database = typeof before === 'object' && before !== null && !isStore(before) ? before : undefined
  if (url === '' && (passwordFile === '' || database === undefined)) return options
  return {
    ...options,
    store: {
      ...database,
      ...(url === '' ? {} : { postgres: url }),
      ...(passwordFile === '' ? {} : { passwordFile }),
    },
  }
}
