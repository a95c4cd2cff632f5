import type { Budget, BudgetAccount, Spending } from '../store/store.ts'
import type { EgressTraffic, PoolEmitter } from '../events.ts'
import type { Remote } from '../options/remotes.ts'

type Charged = Pick<EgressTraffic, 'tenant' | 'session'> & { agent: string | undefined }
type Traffic = Omit<EgressTraffic, 'worker' | keyof Charged>

/** What keeps the credential of the model away from processes, and holds them to budgets. */
export interface Credentials {
  attach(listeners: {
    trouble: (message: string, error: unknown) => void
    traffic: (report: { worker: string; charged: Charged; traffic: Traffic[] }) => void
    refused: (refusal: { worker: string; account: BudgetAccount; message: string }) => void
  }): void
  /** Gives a process that is about to start its own way to the model. `environment` is what it would have without. */
  grant(
    worker: {
      id: string
      agent: string | undefined
      tenant: string
      session: string | undefined
      executable: string | undefined
      egress?: readonly (readonly string[])[] | undefined
      remotes?: readonly Remote[] | undefined
      user?: number | undefined
    },
    environment: () => Record<string, string>,
  ): {
    env: Record<string, string>
    lateEnv?: Promise<Record<string, string>>
    egressSocket?: string
    remotes?: Promise<{ base: string; tokens: Readonly<Record<string, string>> }>
    ready: Promise<void>
  }
  /** A process has become that of a session. */
  bind(worker: string, session: string): void
  /** A process is gone. */
  revoke(worker: string): void
  /** The credentials may be others now. */
  renew(): void
  budget(tenant: string): Promise<{ budget: Budget | undefined; spent: Spending }>
  setBudget(tenant: string, budget: Budget | undefined): Promise<void>
  close(): Promise<void>
}

/** Tells of every process whose it is, and when it is gone; and tells the pool's listeners what goes wrong. */
export function followWorkers(emitter: PoolEmitter, credentials: Credentials): void {
  credentials.attach({
    trouble: (message, error) => emitter.tell('warning', { message, error }),
    traffic: ({ worker, charged, traffic }) => {
      const { agent } = charged
      // What calls the model for a tenant itself goes nowhere else.
      if (agent === undefined) return
      for (const part of traffic) emitter.tell('egress', { worker, ...charged, agent, ...part })
    },
    refused: ({ worker, account, message }) => emitter.tell('budget.reached', { worker, account, message }),
  })
  emitter.on('worker.bound', ({ worker: { id, session } }) => {
    if (session !== undefined) credentials.bind(id, session)
  })
  emitter.on('worker.closed', ({ worker: { id } }) => credentials.revoke(id))
}
