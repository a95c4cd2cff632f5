import fc from 'fast-check'
import { expect, onTestFailed, test } from 'vitest'
import { hashKey } from '../../src/server/auth/authenticator.ts'
import { KEYS, Trial, operationsOf, requests } from '../fixtures/fuzz.ts'
import type { Description, Plan } from '../fixtures/fuzz.ts'
import { served } from '../fixtures/server.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

/** By hand: `FUZZ_REQUESTS=10000 FUZZ_SEED=7`. */
const REQUESTS = Number(process.env['FUZZ_REQUESTS'] ?? 6_000)
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_131)

/** The last so many find a server that drains. */
const DRAINED = Math.ceil(REQUESTS / 20)

/** Refused without a credential for the model, endpoints of webhooks, and a network, which this pool has none of. */
const NEEDS_MORE = / \/v1\/(?:messages|models|webhooks\/endpoints\/)|\/mcp_oauth_validate$/

const shown = ({ tenant, method, path, headers, body }: Plan): string =>
  `${tenant}: ${method} ${path} ${JSON.stringify(headers)} ${typeof body === 'string' ? body.slice(0, 2_000) : String(body)}`

test(
  `${REQUESTS} requests of two tenants: none fails the server, none sees what is the other's`,
  { timeout: 300_000 },
  async () => {
    const all = await served({
      keys: (['ada', 'bob'] as const).map((tenant) => ({ tenant, sha256: hashKey(KEYS[tenant]) })),
      managedAgents: { define: true, vaults: { keys: [{ id: 'one', key: Buffer.alloc(32, 1).toString('base64') }] } },
      fileDir: await temporaryFolder(),
      tenantLimits: { requestsPerMinute: 10 * REQUESTS + 1_000_000 },
    })
    const description = (await (await all.ask('GET', '/openapi.json')).json()) as Description
    const operations = operationsOf(description)
    expect(operations.length).toBeGreaterThan(20)
    const trial = new Trial(all)
    let at = 'the first request'
    // Also of one that was never answered.
    onTestFailed(() => void process.stderr.write(`It came to ${at}\n`))
    for (const [index, request] of fc.sample(requests(description), { numRuns: REQUESTS, seed: SEED }).entries()) {
      if (index === REQUESTS - DRAINED) {
        all.server.state = 'draining'
        await all.pool.drain()
      }
      at = `request ${index} of seed ${SEED}, ${shown(request)}`
      await trial.run(request)
    }
    // It must have come further than the checks of bodies, to mean anything.
    expect(trial.statuses.get(200) ?? 0).toBeGreaterThan(REQUESTS / 10)
    expect([...trial.statuses.keys()]).toEqual(expect.arrayContaining([204, 400, 404, 409, 413, 529]))
    const names = operations.map(({ method, path }) => `${method} ${path}`).filter((name) => !NEEDS_MORE.test(name))
    expect(names.filter((name) => (trial.served.get(name) ?? 0) < 2)).toEqual([])
  },
)
