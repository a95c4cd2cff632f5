import { loadConfig } from '../../config/load.ts'
import { ConfigError } from '../../errors.ts'
import type { HostDirectory, HostInfo } from '../../index.ts'
import { isStore, readPostgres } from '../../options/store.ts'
import { placeOf } from '../../store/data-dir.ts'
import { PostgresStore } from '../../store/postgres/postgres.ts'
import { formatDuration } from '../../units.ts'
import { dataDirOf } from '../shared/running-host.ts'
import type { DataDirFlags } from '../shared/running-host.ts'
import { withStore } from '../shared/store-flag.ts'
import { tableOf } from '../shared/table.ts'
import type { Column } from '../shared/table.ts'
import { columnsOf } from '../shared/text.ts'

/** The flags of the commands on hosts. */
export interface HostFlags extends DataDirFlags {
  json?: true
}

const COLUMNS: readonly Column[] = [
  { head: 'id', align: 'right' },
  { head: 'place', title: true, least: 12 },
  { head: 'address', least: 12 },
  { head: 'state' },
  { head: 'version' },
  { head: 'running', align: 'right' },
  { head: 'waiting', align: 'right' },
  { head: 'free', align: 'right' },
  { head: 'heard', align: 'right' },
]

/** Works with the hosts of the database that flags, environment or config name. Throws ConfigError if they name none, and StoreError. */
async function withHosts<T>(flags: HostFlags, work: (hosts: HostDirectory) => Promise<T>): Promise<T> {
  const { options } = await loadConfig(flags.config, process.cwd())
  const { store } = withStore(options, flags) as { store?: unknown }
  if (store === undefined || isStore(store))
    throw new ConfigError('--store', 'names no database, so there is one host at a time; give postgres://…')
  const opened = await PostgresStore.open(readPostgres(store), { migrates: false })
  try {
    return await work(opened.hosts)
  } finally {
    await opened.close()
  }
}

/** Lists the hosts. */
export async function listHosts({ json, ...flags }: HostFlags): Promise<void> {
  const hosts = await withHosts(flags, (directory) => directory.list())
  if (json === true) return console.log(JSON.stringify(hosts))
  if (hosts.length === 0) return console.log('No host shares this database now.')
  const rows = hosts.map(({ id, place, address, state, version, running, waiting, free, silentMs }) => [
    id,
    place,
    // What follows it names a network.
    address?.split('#')[0] ?? '-',
    state,
    version,
    running,
    waiting,
    free,
    `${formatDuration(Math.round(silentMs / 100) * 100)} ago`,
  ])
  console.log(tableOf(COLUMNS, rows, columnsOf(process.stdout)))
}

/** Has a host drain: this one, if none is named. */
export async function drainHost(name: string | undefined, { json, ...flags }: HostFlags): Promise<void> {
  const wanted = name ?? placeOf(await dataDirOf(flags))
  const host = await withHosts(flags, async (directory) => {
    const found = (await directory.list()).find(({ id, place }) => id === wanted || place === wanted)
    return found !== undefined && (await directory.drain(found.id)) ? found : undefined
  })
  if (host === undefined)
    throw new ConfigError('host', `there is no host ${wanted ?? 'of this data directory'}; "hosts" lists them`)
  say(host, json === true)
}

function say({ id, place }: HostInfo, json: boolean): void {
  console.log(
    json
      ? JSON.stringify({ id, place, state: 'draining' })
      : `Host ${id} at ${place} drains: it takes no turn any more, and exits when the running ones have ended`,
  )
}
