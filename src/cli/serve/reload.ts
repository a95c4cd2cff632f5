import { isDeepStrictEqual } from 'node:util'
import { changesBetween } from '../../config/changes.ts'
import type { Config } from '../../config/load.ts'
import { ConfigError } from '../../errors.ts'
import type { PoolOptions } from '../../index.ts'
import type { Logger } from '../../index.ts'
import type { ManagedAgentsOptions, Server, ServerConfig } from '../../server/index.ts'
import type { OpenPool } from '../shared/open-pool.ts'
import type { ServePlan } from '../shared/serve-plan.ts'
import type { ServedIsolation } from '../shared/serve-isolation.ts'
import { credentialSource } from '../shared/simulated-model.ts'

/** What of the `server` section holds at once. */
const AT_ONCE = ['keys', 'jwt', 'operators', 'defaultAgent'] as const

type Section = Readonly<Record<string, unknown>>

/** A section that is not there says as much as an empty one. */
function whole({ options, server }: Pick<Config, 'options' | 'server'>): Section {
  const { managedAgents = {}, ...rest } = (server ?? {}) as ServerConfig
  return { ...options, server: { ...rest, managedAgents } }
}

/** True for an option that holds without a restart. */
const holdsAtOnce = (path: string): boolean =>
  path.startsWith('agents.') ||
  `${path}.`.startsWith('api.') ||
  AT_ONCE.some((name) => `${path}.`.startsWith(`server.${name}.`)) ||
  WEBHOOKS.test(`${path}.`)

const WEBHOOKS = /^server\.managedAgents\.(?:tenants\..+\.)?webhooks\./

/** The webhooks of the next one hold at once; all else of the section stays until a restart. */
function heldManagedAgents(before: ManagedAgentsOptions = {}, next: ManagedAgentsOptions = {}): ManagedAgentsOptions {
  const { webhooks: _, tenants = {}, ...rest } = before
  const names = new Set([...Object.keys(tenants), ...Object.keys(next.tenants ?? {})])
  const held = [...names].map((name) => {
    const { webhooks: _own, ...others } = tenants[name] ?? {}
    const webhooks = next.tenants?.[name]?.webhooks
    return [name, { ...others, ...(webhooks === undefined ? {} : { webhooks }) }] as const
  })
  const kept = held.filter(([, own]) => Object.keys(own).length > 0)
  return {
    ...rest,
    ...(next.webhooks === undefined ? {} : { webhooks: next.webhooks }),
    ...(kept.length > 0 || before.tenants !== undefined ? { tenants: Object.fromEntries(kept) } : {}),
  }
}

interface ReloadParts {
  opened: OpenPool
  server: Server
  logger: Logger
  /** What the pool was opened with. */
  isolation: ServedIsolation
  /** Reads and checks the whole config. */
  read: () => Promise<ServePlan>
}

/** Reads the config again while the server runs, and says what came of it. */
export class Reload {
  readonly #parts: ReloadParts
  /** What holds now: the config that it was started with, with what has been changed since. */
  #holds: Section
  #last: Promise<void> = Promise.resolve()

  constructor(parts: ReloadParts) {
    this.#parts = parts
    this.#holds = whole(parts.opened.config)
  }

  /** One after the other: a config that is read later wins. */
  again(): void {
    this.#last = this.#last.then(() => this.#again())
  }

  async #again(): Promise<void> {
    const { opened, server, logger, isolation, read } = this.#parts
    try {
      const plan = await read()
      checkShared(isolation, plan.isolation)
      opened.update(plan.config)
      const { keys = [], operators = [], jwt, defaultAgent, managedAgents } = plan.options
      server.update({
        keys,
        operators,
        ...(jwt === undefined ? {} : { jwt }),
        ...(defaultAgent === undefined ? {} : { defaultAgent }),
        ...(managedAgents === undefined ? {} : { managedAgents }),
      })
      this.#tell(plan)
    } catch (error) {
      logger.error('the config was not read again; all stays as it was', { error })
    }
  }

  #tell({ config }: ServePlan): void {
    const { opened, logger } = this.#parts
    const next = whole(config)
    const changes = changesBetween(this.#holds, next)
    const changed = changes.filter(holdsAtOnce)
    const needsRestart = changes.filter((path) => !holdsAtOnce(path))
    if (opened.simulatedBecause === 'no credential' && hasCredential(config)) needsRestart.push('the real model')
    this.#holds = {
      ...this.#holds,
      agents: next['agents'],
      api: next['api'],
      server: {
        ...(this.#holds['server'] as Section),
        ...pick(next['server'] as Section),
        managedAgents: heldManagedAgents(managedAgentsOf(this.#holds), managedAgentsOf(next)),
      },
    }
    const facts = { changed, needsRestart, agents: opened.pool.agents }
    if (needsRestart.length > 0)
      logger.warn(`config read again; a restart is needed for: ${needsRestart.join(', ')}`, facts)
    else logger.info(changed.length === 0 ? 'config read again: nothing changed' : 'config read again', facts)
  }
}

const managedAgentsOf = (section: Section): ManagedAgentsOptions | undefined =>
  (section['server'] as ServerConfig).managedAgents

/** Processes of one tenant may be less isolated than those of several must be. */
function checkShared(now: ServedIsolation, next: ServedIsolation): void {
  const { mode, egress } = next.options
  if (now.shared || !next.shared || (mode === now.options.mode && isDeepStrictEqual(egress, now.options.egress))) return
  throw new ConfigError(
    'server.keys',
    'name several tenants now, which needs stronger isolation; restart, or write isolation.mode and isolation.egress',
  )
}

/** What holds at once, also where it is gone. */
const pick = (server: Section): Section => Object.fromEntries(AT_ONCE.map((name) => [name, server[name]]))

const hasCredential = ({ options }: Config): boolean =>
  credentialSource(options as unknown as PoolOptions, process.env) !== undefined
