import { readFileSync } from 'node:fs'
import type { ClientConfig } from 'pg'
import { storeError } from '../../errors.ts'
import type { PostgresAddress } from '../../options/store.ts'

/** A connection that opens takes no longer. */
const CONNECT_MS = 5_000

/** A descriptor is empty after it was read once. */
const DESCRIPTOR = /^\/(?:dev|proc\/self)\/fd\/\d+$|^\/dev\/stdin$/

function read(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw storeError(`${what} ${path} cannot be read`, error)
  }
}

/** The password of a file is read for each connection, so that a new one holds from the next connection on. */
function passwordOf({ password, passwordFile }: PostgresAddress): ClientConfig['password'] {
  if (passwordFile === undefined) return password
  const readPassword = (): string => read(passwordFile, 'the password file of the store').replace(/\r?\n$/, '')
  if (!DESCRIPTOR.test(passwordFile)) return readPassword
  const once = readPassword()
  return () => once
}

/** TLS as libpq understands `sslmode`. */
function tlsOf({ tls }: PostgresAddress): ClientConfig['ssl'] {
  // Left out, `pg` does as PGSSLMODE says: an operator who asks for TLS there gets it.
  if (tls.mode === undefined) return undefined
  if (tls.mode === 'disable') return false
  const files = {
    ...(tls.rootCert === undefined ? {} : { ca: read(tls.rootCert, 'sslrootcert') }),
    ...(tls.cert === undefined ? {} : { cert: read(tls.cert, 'sslcert') }),
    ...(tls.key === undefined ? {} : { key: read(tls.key, 'sslkey') }),
  }
  if (tls.mode === 'verify-full') return { ...files, rejectUnauthorized: true }
  // With a root certificate, `require` checks the chain as `verify-ca` does.
  const checksChain = tls.mode === 'verify-ca' || tls.rootCert !== undefined
  return { ...files, rejectUnauthorized: checksChain, checkServerIdentity: () => undefined }
}

/** How a client of `pg` reaches the database. What the address leaves out is as the variables of libpq say. Throws StoreError. */
export function clientConfig(address: PostgresAddress): ClientConfig {
  const { host, port, user, database, applicationName, options, channelBinding } = address
  const password = passwordOf(address)
  const ssl = tlsOf(address)
  return {
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(user === undefined ? {} : { user }),
    ...(database === undefined ? {} : { database }),
    ...(password === undefined ? {} : { password }),
    ...(options === undefined ? {} : { options }),
    ...(channelBinding ? { enableChannelBinding: true } : {}),
    ...(ssl === undefined ? {} : { ssl }),
    application_name: applicationName,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
  }
}
