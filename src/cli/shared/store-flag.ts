import { hasPassword, isStore } from '../../options/store.ts'

const VARIABLE = 'CLAUDE_AGENT_POOL_STORE'

const PASSWORD_VARIABLE = 'CLAUDE_AGENT_POOL_STORE_PASSWORD_FILE'

/** What says where sessions are kept. */
export interface StoreFlag {
  store?: string
}

/** What `--store` with a password means. */
export const PASSWORD_ON_COMMAND_LINE: string = `every process of this machine sees the password of --store; give the address by ${VARIABLE}, or the password by PGPASSFILE or store.passwordFile`

/** True if processes of the machine see the password of the database in the arguments of this one. */
export const showsPassword = ({ store }: StoreFlag): boolean => store !== undefined && hasPassword(store)

/** The options of a config with the store that `--store` names, or else the environment, or else the config. */
export function withStore<T extends Readonly<Record<string, unknown>>>(options: T, { store }: StoreFlag): T {
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
