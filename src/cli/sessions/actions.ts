import type { SessionInfo } from '../../index.ts'
import { onRunningHost } from '../shared/running-host.ts'
import { printable } from '../shared/style.ts'
import type { SessionFlags } from './run.ts'

/** Stops the turn of a session that runs on the host. */
export async function interrupt(key: string, { tenant, json, ...flags }: SessionFlags): Promise<void> {
  const interrupted = (await onRunningHost(flags, { do: 'interrupt', tenant, key })) as boolean
  if (json === true) return console.log(JSON.stringify({ tenant, key, interrupted }))
  console.log(interrupted ? `Interrupted the turn of ${printable(key)}` : `No turn of ${printable(key)} runs`)
}

/** Ends the process of a session, and keeps the session. */
export async function hibernate(key: string, { tenant, json, ...flags }: SessionFlags): Promise<void> {
  const { state } = (await onRunningHost(flags, { do: 'show', tenant, key })) as SessionInfo
  await onRunningHost(flags, { do: 'hibernate', tenant, key })
  const hibernated = state !== 'hibernated'
  if (json === true) return console.log(JSON.stringify({ tenant, key, hibernated }))
  console.log(hibernated ? `Hibernated ${printable(key)}` : `${printable(key)} had no process`)
}
