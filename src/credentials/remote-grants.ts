import { randomBytes } from 'node:crypto'
import { BRIDGE_PORT } from '../egress/rules.ts'
import type { Remote } from '../options/remotes.ts'
import { hashOf } from './grants.ts'
import type { Charged, Order } from './protocol.ts'

/** How a worker reaches its remotes: below `base`, with the token of each by its id. */
export interface RemoteAccess {
  base: string
  tokens: Readonly<Record<string, string>>
}

type RemotesOrder = Extract<Order, { do: 'remotes' }>

/** The remotes of workers, as the host knows them. The tokens are with the workers alone. */
export class RemoteGrants {
  readonly #orders = new Map<string, RemotesOrder>()

  /** `confined`: the worker comes by the bridge of its sandbox. */
  add(
    worker: string,
    { charged, confined, remotes }: { charged: Charged; confined: boolean; remotes: readonly Remote[] },
  ): {
    order: Order
    tokens: RemoteAccess['tokens']
  } {
    const made = remotes.map((remote) => ({ remote, token: `car-${randomBytes(32).toString('base64url')}` }))
    const order: RemotesOrder = {
      do: 'remotes',
      worker,
      charged,
      confined,
      remotes: made.map(({ remote, token }) => ({ remote, tokenHash: hashOf(token).toString('hex') })),
    }
    this.#orders.set(worker, order)
    return { order, tokens: Object.fromEntries(made.map(({ remote, token }) => [remote.id, token])) }
  }

  /** False if the worker has none. */
  bind(worker: string, session: string): boolean {
    const order = this.#orders.get(worker)
    if (order === undefined) return false
    this.#orders.set(worker, { ...order, charged: { ...order.charged, session } })
    return true
  }

  /** False if the worker has none. */
  remove(worker: string): boolean {
    return this.#orders.delete(worker)
  }

  /** All that a new process of the proxy has to know. */
  orders(): Iterable<Order> {
    return this.#orders.values()
  }
}

export const accessAt = (port: number, tokens: RemoteAccess['tokens']): RemoteAccess => ({
  base: `http://127.0.0.1:${port}`,
  tokens,
})

/** In a sandbox whose network is its own. */
export const accessByBridge = (tokens: RemoteAccess['tokens']): RemoteAccess => accessAt(BRIDGE_PORT, tokens)
