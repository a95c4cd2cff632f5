import { Hono } from 'hono'
import type { Context } from 'hono'
import type { ServerEnv } from '../../context.ts'
import type { ListRequest } from '../kept.ts'
import { readLimit } from '../pages.ts'
import { readSwitch } from '../query.ts'
import { readBody } from '../request.ts'
import { described, pageAnswer } from '../routes.ts'
import type { Validation } from './validation.ts'
import { credentialCreate, credentialUpdate, vaultCreate, vaultUpdate } from './vault-schema.ts'
import type { Vaults } from './vaults.ts'

interface VaultRoutes {
  vaults: Vaults
  validate: (tenant: string, name: readonly [vaultId: string, id: string]) => Promise<Validation>
}

const LISTED = ['page', 'limit', 'include_archived']

const readList = (c: Context<ServerEnv>): ListRequest => ({
  page: c.req.query('page'),
  limit: readLimit(c.req.query('limit')),
  includeArchived: readSwitch('include_archived', c.req.query('include_archived')),
  from: undefined,
  to: undefined,
})

/** The tenant of a request. Throws ApiError (permission_error) on a server that keeps no vaults. */
const tenantOf =
  (vaults: Vaults) =>
  (c: Context<ServerEnv>): string => {
    vaults.checkKeys()
    return c.var.caller.tenant
  }

/** `/v1/vaults`. */
export function vaultRoutes(context: VaultRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  addVaults(app, context)
  addCredentials(app, context)
  return app
}

function addVaults(app: Hono<ServerEnv>, { vaults }: VaultRoutes): void {
  const tenant = tenantOf(vaults)
  app.post('/', described({ operationId: 'createVault', summary: 'Create a vault', body: vaultCreate }), async (c) =>
    c.json(await vaults.create(tenant(c), await readBody(c.req.raw, vaultCreate))),
  )
  app.get(
    '/',
    described({ operationId: 'listVaults', summary: 'List vaults, newest first', query: LISTED }),
    async (c) => c.json(pageAnswer(await vaults.list(tenant(c), readList(c)))),
  )
  app.get('/:id', described({ operationId: 'retrieveVault', summary: 'Read a vault' }), async (c) =>
    c.json(await vaults.retrieve(tenant(c), c.req.param('id'))),
  )
  app.post('/:id', described({ operationId: 'updateVault', summary: 'Change a vault', body: vaultUpdate }), async (c) =>
    c.json(await vaults.update(tenant(c), c.req.param('id'), await readBody(c.req.raw, vaultUpdate))),
  )
  app.delete(
    '/:id',
    described({ operationId: 'deleteVault', summary: 'Delete a vault with its credentials' }),
    async (c) => c.json(await vaults.delete(tenant(c), c.req.param('id'))),
  )
  const archive = described({
    operationId: 'archiveVault',
    summary: 'Archive a vault; its secrets are removed',
    post: true,
  })
  app.post('/:id/archive', archive, async (c) => c.json(await vaults.archive(tenant(c), c.req.param('id'))))
}

function addCredentials(app: Hono<ServerEnv>, { vaults, validate }: VaultRoutes): void {
  const tenant = tenantOf(vaults)
  const create = described({ operationId: 'createCredential', summary: 'Create a credential', body: credentialCreate })
  app.post('/:vault/credentials', create, async (c) =>
    c.json(await vaults.createCredential(tenant(c), c.req.param('vault'), await readBody(c.req.raw, credentialCreate))),
  )
  const list = described({ operationId: 'listCredentials', summary: 'List the credentials of a vault', query: LISTED })
  app.get('/:vault/credentials', list, async (c) =>
    c.json(pageAnswer(await vaults.listCredentials(tenant(c), c.req.param('vault'), readList(c)))),
  )
  const retrieve = described({ operationId: 'retrieveCredential', summary: 'Read a credential, without its secret' })
  app.get('/:vault/credentials/:id', retrieve, async (c) =>
    c.json(await vaults.retrieveCredential(tenant(c), c.req.param('vault'), c.req.param('id'))),
  )
  const update = described({ operationId: 'updateCredential', summary: 'Change a credential', body: credentialUpdate })
  app.post('/:vault/credentials/:id', update, async (c) => {
    const params = await readBody(c.req.raw, credentialUpdate)
    return c.json(await vaults.updateCredential(tenant(c), c.req.param('vault'), c.req.param('id'), params))
  })
  const remove = described({ operationId: 'deleteCredential', summary: 'Delete a credential' })
  app.delete('/:vault/credentials/:id', remove, async (c) =>
    c.json(await vaults.deleteCredential(tenant(c), c.req.param('vault'), c.req.param('id'))),
  )
  const archive = described({
    operationId: 'archiveCredential',
    summary: 'Archive a credential; its secret is removed',
    post: true,
  })
  app.post('/:vault/credentials/:id/archive', archive, async (c) =>
    c.json(await vaults.archiveCredential(tenant(c), c.req.param('vault'), c.req.param('id'))),
  )
  const check = described({
    operationId: 'validateCredential',
    summary: 'Ask the MCP server of a credential whether it takes it',
    post: true,
  })
  app.post('/:vault/credentials/:id/mcp_oauth_validate', check, async (c) =>
    c.json(await validate(tenant(c), [c.req.param('vault'), c.req.param('id')])),
  )
}
