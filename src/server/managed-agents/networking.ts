import { z } from 'zod'
import type { Pool } from '../../index.ts'
import { ApiError } from '../errors.ts'
import type { McpServer } from './schema.ts'

/** What a session reaches beside the model, as clients say it. */
interface LimitedParams {
  type: 'limited'
  allowed_hosts?: string[] | null | undefined
  allow_mcp_servers?: boolean | null | undefined
  allow_package_managers?: boolean | null | undefined
}

export type NetworkingParams = { type: 'unrestricted' } | LimitedParams

/** The same with all defaults filled in. */
export interface Limited {
  type: 'limited'
  allowed_hosts: string[]
  allow_mcp_servers: boolean
  allow_package_managers: boolean
}

export type Networking = { type: 'unrestricted' } | Limited

const MAX_HOSTS = 256

/** The registries of the package managers that environments name. */
const REGISTRIES: readonly string[] = [
  'pypi.org',
  'files.pythonhosted.org',
  'registry.npmjs.org',
  'index.crates.io',
  'static.crates.io',
  'crates.io',
  'proxy.golang.org',
  'sum.golang.org',
  'rubygems.org',
  'index.rubygems.org',
  'deb.debian.org',
  'security.debian.org',
  'archive.ubuntu.com',
  'security.ubuntu.com',
]

const host = z
  .string()
  .max(253)
  .regex(
    /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*$/i,
    'must be a host name, like api.example.com or *.example.com, without scheme, port and path',
  )

export const networking: z.ZodType<NetworkingParams> = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('unrestricted') }),
    z.strictObject({
      type: z.literal('limited'),
      allowed_hosts: z.array(host).max(MAX_HOSTS).nullish(),
      allow_mcp_servers: z.boolean().nullish(),
      allow_package_managers: z.boolean().nullish(),
    }),
  ],
  { error: 'type must be unrestricted or limited' },
)

/** What a request says of the network; what it leaves out of a limited one stays as it is. */
export function networkingOf(params: NetworkingParams | null | undefined, before: Networking): Networking {
  if (params === null || params === undefined) return before
  if (params.type === 'unrestricted') return { type: 'unrestricted' }
  const old = before.type === 'limited' ? before : undefined
  return {
    type: 'limited',
    allowed_hosts: (params.allowed_hosts ?? old?.allowed_hosts ?? []).map((name) => name.toLowerCase()),
    allow_mcp_servers: params.allow_mcp_servers ?? old?.allow_mcp_servers ?? false,
    allow_package_managers: params.allow_package_managers ?? old?.allow_package_managers ?? false,
  }
}

const placeOf = ({ hostname, port, protocol }: URL): string =>
  `${hostname}:${port === '' ? (protocol === 'https:' ? 443 : 80) : port}`

/** The places of a limited network, as `isolation.egress` has them. */
export function placesOf(limited: Limited, servers: readonly McpServer[]): string[] {
  const hosts = [...limited.allowed_hosts, ...(limited.allow_package_managers ? REGISTRIES : [])]
  const places = hosts.flatMap((name) => [`${name}:443`, `${name}:80`])
  return [
    ...new Set([...places, ...(limited.allow_mcp_servers ? servers.map(({ url }) => placeOf(new URL(url))) : [])]),
  ]
}

const isAllowed = (place: string, places: readonly string[]): boolean =>
  places.some((entry) => (entry.startsWith('*.') ? place.endsWith(entry.slice(1)) : entry === place))

/** Throws ApiError for an MCP server that the network of its environment does not let through. */
export function checkServers(limited: Limited | undefined, servers: readonly McpServer[]): void {
  if (limited === undefined) return
  const places = placesOf(limited, servers)
  const closed = servers.find(({ url }) => !isAllowed(placeOf(new URL(url)), places))
  if (closed !== undefined)
    throw new ApiError(
      'invalid_request_error',
      `mcp_servers: the environment does not let "${closed.name}" through; set allow_mcp_servers, or add ${new URL(closed.url).hostname} to allowed_hosts`,
    )
}

/** Throws ApiError for a limited network that this server cannot hold, or whose hosts its operator does not let through. */
export function refuseUnlimited(
  pool: Pick<Pool, 'egressProblem' | 'allowsEgress'>,
  tenant: string,
  params: NetworkingParams | null | undefined,
): void {
  if (params?.type !== 'limited') return
  const { egressProblem } = pool
  if (egressProblem !== undefined)
    throw new ApiError(
      'invalid_request_error',
      `config.networking.type: this server cannot limit the network of agents: ${egressProblem}; ask its operator, or write unrestricted`,
    )
  const reaches = (name: string): boolean => pool.allowsEgress(tenant, new URL(`https://${name.replace('*', 'any')}`))
  if (params.allow_package_managers === true && !REGISTRIES.some(reaches))
    throw new ApiError(
      'invalid_request_error',
      'config.networking.allow_package_managers: this server lets agents reach none of their registries; ask its operator for isolation.egress',
    )
  const closed = params.allowed_hosts?.find((name) => !reaches(name))
  if (closed !== undefined)
    throw new ApiError(
      'invalid_request_error',
      `config.networking.allowed_hosts: this server does not let agents reach ${closed}; ask its operator for isolation.egress`,
    )
}
