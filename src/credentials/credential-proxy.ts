import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import type { Clock } from '../clock.ts'
import { StartError } from '../errors.ts'
import type { EgressLists } from '../egress/rules.ts'
import type { Traffic } from '../egress/traffic.ts'
import { hasBudget } from '../options/budgets.ts'
import type { Budgets } from '../options/budgets.ts'
import { makePrivateFolder } from '../private-file.ts'
import type { Remote } from '../options/remotes.ts'
import type { Budget, BudgetAccount, Spending, Store } from '../store/store.ts'
import { tokensOf } from './budget.ts'
import type { AccountState } from './budget.ts'
import { hashOf } from './grants.ts'
import { Ledger } from './ledger.ts'
import { ProxyChild } from './proxy-child.ts'
import { accountsOf, idOf } from './protocol.ts'
import type { Charged, News, Order } from './protocol.ts'
import { placementOf, runsProxy } from './placement.ts'
import { RemoteGrants, accessAt, accessByBridge } from './remote-grants.ts'
import type { RemoteAccess } from './remote-grants.ts'
import { onLoopback } from './take-credential.ts'
import type { Taken } from './take-credential.ts'
import { takesSocket } from './tested.ts'
import { basePath } from './upstream.ts'
import type { Upstream } from './upstream.ts'

/** Users who own what is in a folder pass through it, and see no names. */
const PASSABLE = 0o711

/** A worker that is about to be started. */
export interface NewWorker {
  id: string
  /** Undefined: none; the tenant calls the model itself. */
  agent: string | undefined
  tenant: string
  session: string | undefined
  /** Undefined: the one of the SDK. */
  executable: string | undefined
  /** Where it may go beside the model; undefined: this process is not its way. */
  egress?: EgressLists | undefined
  /** Places that it reaches at local addresses, which add a credential. Default: none. */
  remotes?: readonly Remote[] | undefined
  /** The user who may connect to its socket; undefined: the host's. */
  user?: number | undefined
}

/** What a worker gets. */
export interface Grant {
  env: Record<string, string>
  /** Variables that depend on the port of the proxy, while it has none. Rejects with StartError. */
  lateEnv?: Promise<Record<string, string>>
  /** Where an HTTP proxy listens that leads to allowed places; undefined: there is none for it. */
  egressSocket?: string
  /** How it reaches its remotes; undefined: it has none, or this runtime has no proxy. */
  remotes?: Promise<RemoteAccess>
  /** Resolves when its calls are passed on. Rejects with StartError. */
  ready: Promise<void>
}

/** What a proxy tells beside what it grants. */
export interface ProxyListeners {
  trouble: (message: string, error: unknown) => void
  /** What a worker has sent to other places than the model, and received. */
  traffic: (report: { worker: string; charged: Charged; traffic: Traffic[] }) => void
  /** A call was refused because a budget is used up. */
  refused: (refusal: { worker: string; charged: Charged; account: BudgetAccount; message: string }) => void
}

export interface CredentialProxyOptions {
  clock: Clock
  store: Pick<Store, 'readAccount' | 'spend' | 'setBudget'>
  budgets: Budgets
  /** For the sockets of workers. It is emptied. */
  socketDir: string
  /** Of the `claude` that the SDK brings. */
  claudeVersion: string | undefined
  /** The host's. */
  environment: NodeJS.ProcessEnv
}

interface Granted {
  charged: Charged
  socket: string | undefined
  user: number | undefined
  egress: { socket: string; lists: EgressLists } | undefined
  token: string
  upstream: Upstream
  base: string
  /** The environment as it would be without a proxy, by the credential that holds now. */
  environment: () => Record<string, string>
  acknowledged: PromiseWithResolvers<void>
  /** The proxy may be told of it. */
  told: boolean
}

/** Keeps the credentials of the model away from agents: their calls go through a process that alone adds them. */
export class CredentialProxy {
  readonly #options: CredentialProxyOptions
  readonly #child: ProxyChild
  readonly #ledger: Ledger
  readonly #grants = new Map<string, Granted>()
  readonly #remotes = new RemoteGrants()
  #listeners: ProxyListeners = {
    trouble: () => undefined,
    traffic: () => undefined,
    refused: () => undefined,
  }
  #port: number | undefined
  #wantsPort = false
  readonly #listens = Promise.withResolvers<number>()
  /** Some file systems and Windows have none. */
  #hasSockets = false
  /** Whether the SDK's `claude` is known to take one. */
  #takesSocket = false

  constructor(options: CredentialProxyOptions) {
    this.#options = options
    const { clock, environment, socketDir } = options
    const trouble = (message: string, error: unknown): void => this.#listeners.trouble(message, error)
    this.#ledger = new Ledger({ ...options, trouble })
    this.#child = new ProxyChild({
      clock,
      environment,
      cwd: socketDir,
      orders: () => this.#allOrders(),
      news: (news) => this.#hear(news),
      trouble,
    })
  }

  /** Finds out how workers can reach the proxy. Call it once, before the first grant. Rejects with StoreError if the folder of sockets belongs to another user. */
  async open(): Promise<void> {
    const { socketDir, claudeVersion } = this.#options
    removeFolder(socketDir)
    makePrivateFolder(socketDir)
    this.#hasSockets = process.platform !== 'win32' && (await canListenIn(socketDir))
    this.#takesSocket = this.#hasSockets && takesSocket(claudeVersion)
  }

  /** Starts its process before a worker needs it, if agents with this environment will. */
  startAhead(environment: Record<string, string>): void {
    if (placementOf(environment, '').kind === 'taken') this.#child.start()
  }

  attach(listeners: ProxyListeners): void {
    this.#listeners = listeners
  }

  /** The process of the proxy; undefined while none is needed. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Gives a worker its own way to the model, and to its remotes. An environment without a credential stays as it is. */
  grant(worker: NewWorker, environment: () => Record<string, string>): Grant {
    const remotes = this.#grantRemotes(worker)
    return { ...this.#grantModel(worker, environment), ...(remotes === undefined ? {} : { remotes }) }
  }

  #grantRemotes({ id, tenant, agent, session, egress, remotes = [] }: NewWorker): Promise<RemoteAccess> | undefined {
    if (remotes.length === 0 || !runsProxy()) return undefined
    const confined = egress !== undefined
    const { order, tokens } = this.#remotes.add(id, { charged: { tenant, agent, session }, confined, remotes })
    if (!confined) this.#listenOnLoopback()
    this.#child.start()
    this.#child.tell(order)
    return confined
      ? Promise.resolve(accessByBridge(tokens))
      : this.#listens.promise.then((port) => accessAt(port, tokens))
  }

  #grantModel(worker: NewWorker, environment: () => Record<string, string>): Grant {
    const token = `cap-${randomBytes(32).toString('base64url')}`
    const env = environment()
    const taken = placementOf(env, token)
    if (taken.kind !== 'taken') {
      const ready = this.#withoutProxy(taken)
      ready.catch(() => undefined)
      return { env, ready }
    }
    const { upstream } = taken
    const { id, tenant, agent, session, egress: lists } = worker
    const folder = this.#hasSockets ? join(this.#options.socketDir, id) : undefined
    const granted: Granted = {
      charged: { tenant, agent, session },
      socket: folder === undefined ? undefined : join(folder, SOCKET),
      user: worker.user,
      egress: folder === undefined || lists === undefined ? undefined : { socket: join(folder, EGRESS_SOCKET), lists },
      token,
      upstream,
      base: basePath(upstream.baseUrl),
      environment,
      acknowledged: Promise.withResolvers(),
      told: false,
    }
    granted.acknowledged.promise.catch(() => undefined)
    if (folder !== undefined && worker.user !== undefined) chmodSync(this.#options.socketDir, PASSABLE)
    this.#grants.set(id, granted)
    const bySocket = worker.executable === undefined && this.#takesSocket
    if (!bySocket) this.#listenOnLoopback()
    const ready = this.#begin(id, granted)
    ready.catch(() => undefined)
    const shared = { ...taken.env, ...(granted.socket === undefined ? {} : { ANTHROPIC_UNIX_SOCKET: granted.socket }) }
    const out = granted.egress === undefined ? {} : { egressSocket: granted.egress.socket }
    if (bySocket) return { env: shared, ready, ...out }
    if (this.#port !== undefined) return { env: onLoopback(shared, this.#port, upstream), ready, ...out }
    const lateEnv = Promise.all([this.#listens.promise, ready]).then(([port]) => onLoopback(shared, port, upstream))
    lateEnv.catch(() => undefined)
    return { env: shared, lateEnv, ready, ...out }
  }

  /** A worker without a session has got one. */
  bind(id: string, session: string): void {
    if (this.#remotes.bind(id, session)) this.#child.tell({ do: 'bindRemotes', worker: id, session })
    const granted = this.#grants.get(id)
    if (granted === undefined || granted.charged.session === session) return
    granted.charged = { ...granted.charged, session }
    void this.#bind(id, granted, session)
  }

  /** Ends what a worker may do. */
  revoke(id: string): void {
    const hadRemotes = this.#remotes.remove(id)
    const granted = this.#grants.get(id)
    if (granted === undefined) {
      if (hadRemotes) this.#child.tell({ do: 'revoke', worker: id })
      return
    }
    this.#grants.delete(id)
    granted.acknowledged.reject(new Error(`worker ${id} is gone`))
    this.#child.tell({ do: 'revoke', worker: id })
    if (granted.socket !== undefined) removeFolder(dirname(granted.socket))
  }

  /** Gives every worker that runs the credential that holds now. One whose way to the model has changed keeps what it has. */
  renew(): void {
    for (const [worker, granted] of this.#grants) {
      const taken = placementOf(granted.environment(), granted.token)
      if (taken.kind !== 'taken' || taken.upstream.dialect !== granted.upstream.dialect) continue
      granted.upstream = taken.upstream
      if (granted.told) this.#child.tell({ do: 'upstream', worker, upstream: taken.upstream })
    }
  }

  /** What a tenant may use of the model, and has used of it in the period that is now. Rejects with StoreError. */
  async budget(tenant: string): Promise<{ budget: Budget | undefined; spent: Spending }> {
    const { budget, spent } = await this.#ledger.load(accountOfTenant(tenant))
    return { budget, spent: { ...spent } }
  }

  /** Sets what a tenant may use; undefined lets the budget of the options hold again. Rejects with StoreError. */
  async setBudget(tenant: string, budget: Budget | undefined): Promise<void> {
    this.#child.tell({ do: 'account', ...(await this.#ledger.setBudget(accountOfTenant(tenant), budget)) })
  }

  /** Ends the process. No worker may be left that needs it. */
  async close(): Promise<void> {
    await this.#child.close()
    await this.#ledger.close()
    removeFolder(this.#options.socketDir)
  }

  async #withoutProxy(taken: Exclude<Taken, { kind: 'taken' }>): Promise<void> {
    if (taken.kind === 'none' || !hasBudget(this.#options.budgets)) return
    throw new StartError(
      'spawn',
      `budgets need the credential proxy, and it cannot hold this credential: ${taken.because}`,
    )
  }

  /** Listens on loopback, for workers whose CLI may not know the socket. */
  #listenOnLoopback(): void {
    if (this.#wantsPort) return
    this.#wantsPort = true
    this.#child.tell(this.#beginning())
  }

  async #begin(id: string, granted: Granted): Promise<void> {
    try {
      this.#child.start()
      const accounts = await this.#ledger.loadAll(granted.charged)
      if (this.#grants.get(id) !== granted) return
      granted.told = true
      for (const order of this.#ordersFor(id, granted, accounts)) this.#child.tell(order)
      await granted.acknowledged.promise
    } catch (error) {
      throw new StartError('initialize', `the credential proxy is not ready: ${(error as Error).message}`, undefined, {
        cause: error,
      })
    }
  }

  async #bind(worker: string, granted: Granted, session: string): Promise<void> {
    try {
      const account = { scope: 'session', tenant: granted.charged.tenant, name: session } as const
      const state = await this.#ledger.load(account)
      if (!granted.told) return
      this.#child.tell({ do: 'account', ...state })
      this.#child.tell({ do: 'bind', worker, session })
    } catch (error) {
      this.#listeners.trouble(`the budget of session "${session}" could not be read; its calls are refused`, error)
    }
  }

  #beginning(): Order {
    const { budgets, environment } = this.#options
    const proxies: Record<string, string> = {}
    for (const [name, value] of Object.entries(environment))
      if (/^(?:https?|no)_proxy$/i.test(name) && value !== undefined) proxies[name] = value
    return {
      do: 'begin',
      proxies,
      port: this.#wantsPort ? (this.#port ?? 0) : undefined,
      prices: budgets.prices,
      needsSession: this.#ledger.needsSession,
    }
  }

  *#ordersFor(worker: string, granted: Granted, accounts: readonly AccountState[]): Generator<Order> {
    for (const state of accounts) yield { do: 'account', ...state }
    const { socket, user, token, base, upstream, charged, egress } = granted
    const tokenHash = hashOf(token).toString('hex')
    yield { do: 'grant', worker, socket, user, tokenHash, base, upstream, charged, egress }
  }

  *#allOrders(): Generator<Order> {
    yield this.#beginning()
    yield* this.#remotes.orders()
    for (const [worker, granted] of this.#grants) {
      if (!granted.told) continue
      const accounts = accountsOf(granted.charged).flatMap((account) => this.#ledger.known(account) ?? [])
      yield* this.#ordersFor(worker, granted, accounts)
    }
  }

  #hear(news: News): void {
    switch (news.says) {
      case 'begun':
        this.#port = news.port ?? this.#port
        if (this.#port !== undefined) this.#listens.resolve(this.#port)
        return
      case 'granted': {
        const acknowledged = this.#grants.get(news.worker)?.acknowledged
        if (news.problem === undefined) acknowledged?.resolve()
        else acknowledged?.reject(new Error(news.problem))
        return
      }
      case 'revoked':
        return this.#forgetUnused(news.charged)
      case 'used':
        return this.#ledger.charge(news.charged, tokensOf(news.used), news.costUsd)
      case 'traffic':
        return this.#listeners.traffic(news)
      case 'refused':
        return this.#listeners.refused(news)
      default:
        return news satisfies never
    }
  }

  /** Accounts of sessions and tenants that no worker has are not remembered. */
  #forgetUnused(charged: Charged): void {
    for (const account of accountsOf(charged)) {
      if (account.scope === 'agent') continue
      const isUsed = (): boolean =>
        [...this.#grants.values()].some(({ charged: other }) =>
          accountsOf(other).some((one) => idOf(one) === idOf(account)),
        )
      if (isUsed()) continue
      this.#child.tell({ do: 'forget', account })
      void this.#ledger.forget(account, isUsed)
    }
  }
}

/** In a folder of the worker's own: a sandbox shows that, and finds a socket there that was made anew. */
const SOCKET = 'api.sock'
const EGRESS_SOCKET = 'egress.sock'

/** What stays is another user's, or goes with the next host. */
function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true })
  } catch {
    // The folder is checked before it is used.
  }
}

/** Whether sockets can be made in a folder. */
async function canListenIn(folder: string): Promise<boolean> {
  const server = createServer().listen(join(folder, 'probe.sock'))
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

const accountOfTenant = (tenant: string): BudgetAccount => ({ scope: 'tenant', tenant, name: tenant })
