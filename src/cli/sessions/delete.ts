import { dirname } from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { TenantSummary } from '../../control/operations.ts'
import { ConfigError, PoolError } from '../../errors.ts'
import { Problems } from '../../files/problem.ts'
import { TenantFiles } from '../../files/tenant-files.ts'
import type { SessionInfo } from '../../index.ts'
import { tenantDirectory } from '../../store/data-dir.ts'
import { formatSize } from '../../units.ts'
import { EXIT } from '../shared/exit.ts'
import { eraseFromApi, resourcesIn } from './api-file.ts'
import { onDataDir } from './host.ts'
import { dataDirOf } from '../shared/running-host.ts'
import type { DataDirFlags } from '../shared/running-host.ts'
import { ago } from './run.ts'
import { printable } from '../shared/style.ts'

/** The flags of `sessions delete`. */
export interface DeleteFlags extends DataDirFlags {
  tenant?: string
  all?: true
  yes?: true
  dryRun?: true
  json?: true
}

/** Deletes sessions, or a whole tenant. Resolves with the exit code. */
export async function remove(keys: readonly string[], flags: DeleteFlags): Promise<number> {
  if ((keys.length === 0) === (flags.all === undefined)) throw new ConfigError('keys', 'name sessions, or say --all')
  return flags.all === true ? eraseTenant(flags) : deleteSessions(keys, flags)
}

const counted = (count: number, what: string): string => `${count} ${count === 1 ? what : `${what}s`}`

/** Shows what goes, asks, and erases. */
async function eraseTenant(flags: DeleteFlags): Promise<number> {
  const { tenant, dryRun = false, yes = false, json = false } = flags
  if (tenant === undefined)
    throw new ConfigError('--all', 'needs --tenant NAME: it removes all that this tenant has, for good')
  const summary = (await onDataDir(flags, { do: 'tenant', tenant })) as TenantSummary
  const dataDir = await dataDirOf(flags)
  const path = tenantDirectory(dataDir, tenant)
  const files = new TenantFiles(dirname(path))
  // What cannot be counted is named when it cannot be removed.
  const bytes = await files.size(path, new Problems())
  const resources = summary.resources + resourcesIn(dataDir, tenant)
  const facts = { tenant, ...summary, resources, path, bytes, directory: (await files.facts(path)) !== undefined }
  if (!json) describe(facts)
  if (dryRun) {
    if (json) console.log(JSON.stringify({ ...facts, dryRun }))
    return EXIT.done
  }
  if (isEmpty(facts)) return EXIT.done
  if (!yes && !(await confirmed(tenant))) return EXIT.failed
  await onDataDir(flags, { do: 'erase', tenant })
  await eraseFromApi(dataDir, tenant)
  console.log(json ? JSON.stringify({ ...facts, deleted: 'all' }) : `Erased tenant ${printable(tenant)}`)
  return EXIT.done
}

interface TenantFacts extends TenantSummary {
  tenant: string
  path: string
  bytes: number
  /** Whether it has a directory. */
  directory: boolean
}

const isEmpty = ({ sessions, resources, directory }: TenantFacts): boolean =>
  sessions === 0 && resources === 0 && !directory

function describe(facts: TenantFacts): void {
  const { tenant, sessions, turns, resources, running, path, bytes } = facts
  if (isEmpty(facts)) return console.error(`Nothing is kept of tenant ${printable(tenant)}`)
  const now = running.length === 0 ? '' : `, ${running.length} of them in a turn now, which ends`
  const more = resources === 0 ? '' : `, ${counted(resources, 'resource')} of /v1`
  console.error(
    `All of tenant ${printable(tenant)}: ${counted(sessions, 'session')} with ${counted(turns, 'turn')}${now}${more}, and ${formatSize(bytes)} in ${path}`,
  )
}

/** Asks the user. Throws ConfigError if there is no terminal. */
async function confirmed(tenant: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new ConfigError('--all', 'needs --yes where no terminal can ask; --dry-run shows what would go')
  using terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new Promise<string>((resolve) => terminal.on('close', () => resolve('')))
  const answer = await Promise.race([terminal.question(`Erase it for good? Type the tenant's name to go on: `), closed])
  if (answer.trim() === tenant) return true
  console.error('Nothing was erased.')
  return false
}

/** Deletes one after the other; what cannot be deleted is told, and the others go all the same. */
async function deleteSessions(keys: readonly string[], flags: DeleteFlags): Promise<number> {
  const { tenant = 'default', dryRun = false, json = false } = flags
  const deleted: string[] = []
  const failed: { key: string; code: string; message: string }[] = []
  for (const key of keys) {
    try {
      const info = (await onDataDir(flags, { do: 'show', tenant, key })) as SessionInfo
      if (!dryRun) await onDataDir(flags, { do: 'delete', tenant, key })
      deleted.push(key)
      const what = `${printable(key)} of tenant ${printable(tenant)}, ${counted(info.turns, 'turn')}, last used ${ago(info.lastUsedAt)}`
      if (!json) console.log(`${dryRun ? 'Would delete' : 'Deleted'} ${what}`)
    } catch (error) {
      // What is wrong with the command or the data directory is wrong for each of them.
      if (!(error instanceof PoolError) || error instanceof ConfigError) throw error
      failed.push({ key, code: error.code, message: error.message })
      if (!json) console.error(`claude-agent-pool: ${printable(error.message)} (${error.code})`)
    }
  }
  if (json) console.log(JSON.stringify({ tenant, deleted, failed, dryRun }))
  return failed.length === 0 ? EXIT.done : EXIT.failed
}
