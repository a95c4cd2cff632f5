import type { Budget, BudgetAccount, Spending } from '../store/store.ts'
import type { Remote } from '../options/remotes.ts'
import type { Counted, Price } from './prices.ts'
import type { EgressLists } from '../egress/rules.ts'
import type { Traffic } from '../egress/traffic.ts'
import type { Upstream } from './upstream.ts'

/** The accounts that a worker's calls are charged to. A spare has no session yet; what calls for a tenant itself has no agent. */
export interface Charged {
  tenant: string
  agent: string | undefined
  session: string | undefined
}

/** A remote of one worker, with the hash of the token that it is asked with. */
export interface RemoteGrant {
  remote: Remote
  tokenHash: string
}

/** What a host tells its proxy, one line of JSON each. */
export type Order =
  | {
      do: 'begin'
      /** The proxies through which the API is reached, by the names of their variables. */
      proxies: Readonly<Record<string, string>>
      /** Listen on loopback as well: on this port, or 0 for a free one. */
      port: number | undefined
      prices: Readonly<Record<string, Price>>
      /** A call of a worker without a session waits until it has one. */
      needsSession: boolean
    }
  | {
      do: 'grant'
      worker: string
      /** Undefined: loopback alone. */
      socket: string | undefined
      /** The user who alone may connect to the socket, beside root; undefined: the host's. */
      user: number | undefined
      tokenHash: string
      base: string
      upstream: Upstream
      charged: Charged
      /** Its way to other places than the model; undefined: none by this process. */
      egress: { socket: string; lists: EgressLists } | undefined
    }
  /** Places that a worker reaches at local addresses, which add a credential. */
  | { do: 'remotes'; worker: string; charged: Charged; confined: boolean; remotes: readonly RemoteGrant[] }
  | { do: 'bind'; worker: string; session: string }
  | { do: 'bindRemotes'; worker: string; session: string }
  | { do: 'upstream'; worker: string; upstream: Upstream }
  | { do: 'revoke'; worker: string }
  | { do: 'account'; account: BudgetAccount; budget: Budget | undefined; spent: Spending }
  | { do: 'forget'; account: BudgetAccount }

/** What a proxy tells its host. */
export type News =
  | { says: 'begun'; port: number | undefined }
  | { says: 'granted'; worker: string; problem?: string }
  /** All that the worker had under way is over and told. */
  | { says: 'revoked'; worker: string; charged: Charged }
  | { says: 'used'; worker: string; charged: Charged; model: string | undefined; used: Counted; costUsd: number }
  | { says: 'traffic'; worker: string; charged: Charged; traffic: Traffic[] }
  | { says: 'refused'; worker: string; charged: Charged; account: BudgetAccount; message: string }

export const line = (message: Order | News): string => `${JSON.stringify(message)}\n`

export const idOf = ({ scope, tenant, name }: BudgetAccount): string => JSON.stringify([scope, tenant, name])

/** The accounts in the order in which they are asked. */
export function accountsOf({ session, agent, tenant }: Charged): BudgetAccount[] {
  return [
    ...(session === undefined ? [] : [{ scope: 'session' as const, tenant, name: session }]),
    ...(agent === undefined ? [] : [{ scope: 'agent' as const, tenant: '', name: agent }]),
    { scope: 'tenant', tenant, name: tenant },
  ]
}
