import type { Hono } from 'hono'
import type { Clock } from '../../../clock.ts'
import type { Logger } from '../../../telemetry/log.ts'
import type { ServerEnv } from '../../context.ts'
import type { Quotas } from '../../limits.ts'
import type { Fetch } from '../../outbound/public-fetch.ts'
import type { DefinitionPolicy } from '../definition-policy.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'
import { AccessTokens } from './access-tokens.ts'
import { rewrapAll } from './rewrap.ts'
import { validate } from './validation.ts'
import { VaultFetch } from './vault-fetch.ts'
import type { CredentialListener } from './vault-fetch.ts'
import type { VaultKeys } from './vault-keys.ts'
import { vaultRoutes } from './vault-routes.ts'
import { Vaults } from './vaults.ts'

interface VaultParts {
  webhooks: Pick<Webhooks, 'resources' | 'tell'>
  policy: DefinitionPolicy
  keys: VaultKeys
  behindProxy: boolean
  clock: Clock
  logger: Logger
  quotas: Pick<Quotas, 'keep'>
  /** How the host reaches an address for a tenant. */
  fetchOf: (tenant: string, url: URL) => Fetch
  servers: CredentialListener
}

/** What the server does with vaults. */
interface OpenVaults {
  vaults: Vaults
  fetch: VaultFetch
  routes: Hono<ServerEnv>
}

/** Opens the vaults of a server, and encrypts what is in them with the newest key. */
export function openVaults({
  webhooks,
  policy,
  keys,
  behindProxy,
  clock,
  logger,
  quotas,
  fetchOf,
  servers,
}: VaultParts): OpenVaults {
  const store = webhooks.resources
  const checkAddress = (tenant: string, url: URL, field: string): Promise<void> =>
    policy.checkAddress(tenant, url, field, { isServer: field === 'auth.mcp_server_url' })
  const vaults = new Vaults({
    store,
    keys,
    behindProxy,
    now: () => clock.wall(),
    checkAddress,
    keep: (tenant) => quotas.keep(tenant),
  })
  const tokens = new AccessTokens({
    store,
    keys,
    clock,
    fetchOf,
    refused(tenant, { id, vault_id }) {
      logger.warn('a credential of a vault was not renewed: its token endpoint refused', { tenant, credential: id })
      return webhooks.tell(tenant, { type: 'vault_credential.refresh_failed', id, more: { vault_id } })
    },
    trouble: (message, error) => logger.warn(message, { error }),
  })
  if (!keys.none) void rewrapped(webhooks, keys, logger)
  const context = { vaults, tokens, clock, fetchOf, checkAddress }
  return {
    vaults,
    fetch: new VaultFetch({ vaults, tokens, fetchOf, servers }),
    routes: vaultRoutes({ vaults, validate: (tenant, name) => validate(context, tenant, name) }),
  }
}

async function rewrapped({ resources }: Pick<Webhooks, 'resources'>, keys: VaultKeys, logger: Logger): Promise<void> {
  try {
    const { rewrapped: done, left } = await rewrapAll(resources, keys)
    if (done > 0) logger.info('secrets of vaults are encrypted with the newest key now', { secrets: done })
    if (left > 0)
      logger.warn('secrets of vaults cannot be decrypted: a key of server.managedAgents.vaults.keys is missing', {
        secrets: left,
      })
  } catch (error) {
    logger.warn('secrets of vaults were not encrypted with the newest key', { error })
  }
}
