import { EXIT } from '../shared/exit.ts'
import { onRunningHost } from '../shared/running-host.ts'
import type { DataDirFlags } from '../shared/running-host.ts'
import { PoolError, ConfigError } from '../../errors.ts'
import type { WorkerClosing } from '../../index.ts'
import { printable } from '../shared/style.ts'

/** The flags of the commands that act on a running host. */
export interface ActionFlags extends DataDirFlags {
  json?: true
}

const SAYS: Record<WorkerClosing, (id: string) => string> = {
  closed: (id) => `Closed worker ${id}`,
  after_turn: (id) => `Worker ${id} closes when its turn has ended; --now ends it at once`,
}

/** Closes workers one after the other; what cannot be closed is told, and the others go all the same. Resolves with the exit code. */
export async function closeWorkers(
  ids: readonly string[],
  { now = false, json = false, ...flags }: DataDirFlags & { now?: boolean; json?: boolean },
): Promise<number> {
  const closed: { id: string; closing: WorkerClosing }[] = []
  const failed: { id: string; code: string; message: string }[] = []
  for (const id of ids) {
    try {
      const closing = (await onRunningHost(flags, { do: 'closeWorker', id, now })) as WorkerClosing
      closed.push({ id, closing })
      if (!json) console.log(SAYS[closing](printable(id)))
    } catch (error) {
      const isOfWorker = error instanceof PoolError && (!(error instanceof ConfigError) || error.path === 'worker')
      if (!isOfWorker) throw error
      failed.push({ id, code: error.code, message: error.message })
      if (!json) console.error(`claude-agent-pool: ${printable(error.message)} (${error.code})`)
    }
  }
  if (json) console.log(JSON.stringify({ closed, failed }))
  return failed.length === 0 ? EXIT.done : EXIT.failed
}

/** Lets no turn start until `resume`, or lets them start again: of one tenant, or of the pool. */
export async function setSuspended(
  suspended: boolean,
  { tenant, json, ...flags }: ActionFlags & { tenant?: string },
): Promise<void> {
  const scope = tenant === undefined ? {} : { tenant }
  await onRunningHost(flags, { do: suspended ? 'suspend' : 'resume', ...scope })
  if (json === true) return console.log(JSON.stringify({ ...scope, suspended }))
  const whose = tenant === undefined ? 'the pool' : `tenant ${printable(tenant)}`
  console.log(
    suspended
      ? `Suspended ${whose}: running turns go on, new ones do not start until "resume"`
      : `Resumed ${whose}: turns start again`,
  )
}
