import { z } from 'zod'
import { isLoopback } from '../addresses.ts'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'

/** How the hosts of one database reach each other. */
export interface ClusterOptions {
  /** Where this host listens for the others: an address and a port, 0 for any free one. Default `"127.0.0.1:0"`. */
  listen?: string
  /** The address and port under which the others reach it: `"pool-0.pool:7070"`. Default: where it listens. */
  advertise?: string
  /**
   * Hosts with the same secret trust each other. At least 24 characters. Required if `listen` or `advertise` is not on loopback. Default: a
   * secret that the database keeps.
   */
  secret?: string
  /** A file with the secret alone. */
  secretFile?: string
}

/** `cluster`, resolved. */
export interface Cluster {
  readonly host: string
  readonly port: number
  /** `host:port`; undefined: where it listens. */
  readonly advertise: string | undefined
  readonly secret: string | undefined
  readonly secretFile: string | undefined
}

const SHORTEST_SECRET = 24

/** Hosts that listen on these are not reached by them. */
const ALL_ADDRESSES = new Set(['0.0.0.0', '::'])

const address = z.string({ error: 'must be an address and a port, like "10.0.0.5:7070"' })

const schema = z.strictObject({
  listen: address.optional(),
  advertise: address.optional(),
  secret: z.string({ error: 'must be text' }).optional(),
  secretFile: z.string({ error: 'must be a path' }).min(1, 'is empty').optional(),
})

function parse(path: string, text: string): { host: string; port: number } {
  const [, host = '', digits = ''] = /^(\[[\da-f:.]+\]|[\w.-]+):(\d{1,5})$/i.exec(text) ?? []
  const port = Number(digits)
  if (host === '' || port > 65_535)
    throw new ConfigError(path, `"${text}" is not an address and a port, like "10.0.0.5:7070" or "[fd00::5]:7070"`)
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port }
}

/** Throws ConfigError for a secret that could be guessed. It is never shown. */
export function checkPeerSecret(path: string, secret: string): string {
  if (secret.length < SHORTEST_SECRET)
    throw new ConfigError(path, `has less than ${SHORTEST_SECRET} characters; take a random one`)
  return secret
}

/** Checks the form of `cluster`, of which the environment may say more. Throws ConfigError. */
export const checkCluster = (input: unknown): ClusterOptions => validate('cluster', schema, input) as ClusterOptions

/** Checks `cluster`. Undefined: this host takes no requests of others. Throws ConfigError. */
export function readCluster(input: unknown): Cluster | undefined {
  if (input === undefined) return undefined
  const given = checkCluster(input)
  const { listen = '127.0.0.1:0', advertise, secret, secretFile } = given
  const at = parse('cluster.listen', listen)
  const told = advertise === undefined ? at : parse('cluster.advertise', advertise)
  if (secret !== undefined && secretFile !== undefined)
    throw new ConfigError('cluster.secretFile', 'and cluster.secret are both given; keep one')
  if (secret !== undefined) checkPeerSecret('cluster.secret', secret)
  if (ALL_ADDRESSES.has(told.host))
    throw new ConfigError(
      'cluster.advertise',
      `is needed: no host reaches another one by ${told.host}; give the name or address of this host`,
    )
  if (advertise !== undefined && told.port === 0)
    throw new ConfigError('cluster.advertise', 'has port 0; give the port that the others connect to')
  if (secret === undefined && secretFile === undefined && !(isLoopback(at.host) && isLoopback(told.host)))
    throw new ConfigError(
      'cluster.secret',
      'is required: other machines can reach this host. Give the same random secret to all hosts, or listen on 127.0.0.1',
    )
  return { ...at, advertise, secret, secretFile }
}
