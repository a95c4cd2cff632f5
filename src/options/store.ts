import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'
import { notOneOf } from './wording.ts'

/** A database that hosts share. */
export interface PostgresOptions {
  /** `postgres://user@host:5432/database`. What it leaves out is as the variables of libpq say: `PGUSER`, `PGPASSFILE`, and so on. */
  postgres: string
  /** A file with the password. It is read for each connection; a descriptor, `/dev/fd/3`, once. Default: none. */
  passwordFile?: string
}

/** How a connection is encrypted, and whose certificate is accepted, as libpq defines `sslmode`. */
export type TlsMode = 'disable' | 'require' | 'verify-ca' | 'verify-full'

/** Where a database is, and how it is reached. What is undefined is as the variables of libpq say. */
export interface PostgresAddress {
  /** For messages: without the password. */
  readonly shown: string
  readonly host: string | undefined
  readonly port: number | undefined
  readonly user: string | undefined
  readonly database: string | undefined
  readonly password: string | undefined
  readonly passwordFile: string | undefined
  /** The schema that has the tables. */
  readonly schema: string
  readonly tls: {
    /** Undefined: as `PGSSLMODE` says, else without TLS. */
    readonly mode: TlsMode | undefined
    readonly rootCert: string | undefined
    readonly cert: string | undefined
    readonly key: string | undefined
  }
  readonly applicationName: string
  readonly options: string | undefined
  readonly channelBinding: boolean
  /** A pooler that shares connections is in between: nothing is prepared. */
  readonly isPooled: boolean
}

const DEFAULT_SCHEMA = 'claude_agent_pool'

const TLS_MODES: readonly TlsMode[] = ['disable', 'require', 'verify-ca', 'verify-full']

/** Parameters of the URL. */
const PARAMETERS = [
  'host',
  'port',
  'user',
  'password',
  'dbname',
  'schema',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'application_name',
  'options',
  'channel_binding',
  'pgbouncer',
] as const

type Parameter = (typeof PARAMETERS)[number]

const schema = z.strictObject({
  postgres: z.string({ error: 'must be text, like "postgres://user@host:5432/database"' }),
  passwordFile: z.string({ error: 'must be a path' }).min(1, 'is empty').optional(),
})

const PATH = 'store.postgres'

/** No part of a URL is shown in an error: it may hold a password. */
function parse(text: string): URL {
  const url = URL.parse(text)
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol))
    throw new ConfigError(PATH, 'is not a URL like postgres://user@host:5432/database')
  return url
}

function parametersOf(url: URL): Partial<Record<Parameter, string>> {
  const unknown = [...url.searchParams.keys()].find((name) => !(PARAMETERS as readonly string[]).includes(name))
  if (unknown !== undefined)
    throw new ConfigError(PATH, `has the parameter ${unknown}; known are: ${PARAMETERS.join(', ')}`)
  return Object.fromEntries(url.searchParams)
}

function tlsOf({ sslmode, sslrootcert, sslcert, sslkey }: Partial<Record<Parameter, string>>): PostgresAddress['tls'] {
  const files = { rootCert: sslrootcert, cert: sslcert, key: sslkey }
  if (sslmode === undefined) {
    const mode = Object.values(files).some((file) => file !== undefined) ? 'verify-full' : undefined
    return { mode, ...files }
  }
  if (sslmode === 'allow' || sslmode === 'prefer')
    throw new ConfigError(
      PATH,
      `has sslmode=${sslmode}, which may send all in clear text; write require or verify-full`,
    )
  const mode = TLS_MODES.find((known) => known === sslmode)
  if (mode === undefined) throw new ConfigError(PATH, `has an sslmode that ${notOneOf(sslmode, TLS_MODES)}`)
  return { mode, ...files }
}

function portOf(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  const port = Number(text)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new ConfigError(PATH, 'has a port that is not one')
  return port
}

const some = (text: string | undefined): string | undefined => (text === '' ? undefined : text)

function decoded(text: string): string | undefined {
  try {
    return some(decodeURIComponent(text))
  } catch {
    throw new ConfigError(PATH, 'has a % that begins no escape; write %25 for it')
  }
}

function addressOf({ postgres, passwordFile }: PostgresOptions): PostgresAddress {
  const url = parse(postgres)
  const given = parametersOf(url)
  const host = some(given.host) ?? decoded(url.hostname.replace(/^\[(.*)\]$/, '$1'))
  const port = portOf(given.port ?? url.port)
  const user = some(given.user) ?? decoded(url.username)
  const database = some(given.dbname) ?? decoded(url.pathname.replace(/^\//, ''))
  const password = some(given.password) ?? decoded(url.password)
  const { schema: schemaName = DEFAULT_SCHEMA } = given
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schemaName))
    throw new ConfigError(PATH, 'has a schema that is not a plain name: a-z, 0-9 and _, at most 63')
  if (password !== undefined && passwordFile !== undefined)
    throw new ConfigError('store.passwordFile', 'and the URL both give a password; keep one')
  if (host?.includes(',') === true)
    throw new ConfigError(
      PATH,
      'names several hosts; name one that follows the primary: a proxy, a service, a virtual address',
    )
  const place = `${user === undefined ? '' : `${user}@`}${host ?? 'localhost'}${port === undefined ? '' : `:${port}`}`
  return {
    shown: `postgres://${place}/${database ?? ''}`,
    host,
    port,
    user,
    database,
    password,
    passwordFile,
    schema: schemaName,
    tls: tlsOf(given),
    applicationName: some(given.application_name) ?? 'claude-agent-pool',
    options: some(given.options),
    channelBinding: given.channel_binding === 'require',
    isPooled: given.pgbouncer === 'true',
  }
}

/** The address of the database. Throws ConfigError. */
export function readPostgres(input: unknown): PostgresAddress {
  return addressOf(validate('store', schema, input) as PostgresOptions)
}

/** True for a store of the caller's own: an object with methods. */
export const isStore = (input: unknown): boolean => typeof (input as { get?: unknown } | null)?.get === 'function'

/** True for a URL with a password, which processes of the machine see on a command line. */
export function hasPassword(url: string): boolean {
  const parsed = URL.parse(url)
  return parsed !== null && (parsed.password !== '' || parsed.searchParams.has('password'))
}
