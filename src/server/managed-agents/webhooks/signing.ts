import { createHmac } from 'node:crypto'
import { ConfigError } from '../../../errors.ts'

const PREFIX = 'whsec_'

/** Of the key, in bytes: what the scheme asks for. */
const SHORTEST = 24
const LONGEST = 64

/** The key of a secret. Throws ConfigError, which never shows it. */
export function readSigningKey(path: string, secret: string): Buffer {
  const text = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : ''
  const key = /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0)
  if (key.length < SHORTEST || key.length > LONGEST)
    throw new ConfigError(
      path,
      `is not ${PREFIX} with ${SHORTEST} to ${LONGEST} bytes in base64; make one with: echo "${PREFIX}$(openssl rand -base64 32)"`,
    )
  return key
}

/** The headers of Standard Webhooks. `at`: milliseconds since the epoch. */
export function signedHeaders(keys: readonly Buffer[], id: string, at: number, body: string): Record<string, string> {
  const timestamp = String(Math.floor(at / 1000))
  const signatures = keys.map(
    (key) => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`,
  )
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}
