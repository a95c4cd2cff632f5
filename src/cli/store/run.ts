import { resolve } from 'node:path'
import { systemClock } from '../../clock.ts'
import { ConversationFiles } from '../../driver/conversation-files.ts'
import { ConfigError } from '../../errors.ts'
import type { FileProblem, SessionRecord, Store } from '../../index.ts'
import { Problems } from '../../files/problem.ts'
import { readPostgres } from '../../options/store.ts'
import type { PostgresAddress } from '../../options/store.ts'
import { SqliteApiStore } from '../../server/api-store/sqlite.ts'
import { accessTo } from '../../store/access.ts'
import { copyRows } from '../../store/copy/copy.ts'
import type { CopySource, CopyStep, CopyTarget } from '../../store/copy/copy.ts'
import { postgresSource, postgresTarget } from '../../store/copy/postgres-side.ts'
import { sqliteSource, sqliteTarget } from '../../store/copy/sqlite-side.ts'
import { DataDir } from '../../store/data-dir.ts'
import { PostgresStore } from '../../store/postgres/postgres.ts'
import { sessionStore } from '../../store/session-store.ts'
import { Unwinding } from '../../unwinding.ts'
import { showsPassword, withStore } from '../shared/store-flag.ts'
import { tellProblems } from '../shared/text.ts'

/** The flags of `store copy`. */
export interface CopyFlags {
  from: string
  to: string
  restart?: true
  json?: true
}

const PASSWORD_SHOWN =
  'Warning: every process of this machine sees the password of an address on the command line; give it by PGPASSFILE or CLAUDE_AGENT_POOL_STORE_PASSWORD_FILE'

/** A side of a copy as the command line names it. */
type Side = { address: PostgresAddress } | { dataDir: DataDir }

const isUrl = (text: string): boolean => /^postgres(ql)?:/i.test(text)

const addressOf = (url: string): PostgresAddress =>
  readPostgres((withStore({}, { store: url }) as { store: unknown }).store)

/** Copies everything that a store keeps, and says what it does. Rejects with ConfigError, HostRunningError and StoreError. */
export async function copyStore({ from, to, restart, json }: CopyFlags): Promise<void> {
  for (const store of [from, to]) if (showsPassword({ store })) console.error(PASSWORD_SHOWN)
  if (!isUrl(from) && accessTo(from) === 'none')
    throw new ConfigError('--from', `${resolve(from)} is no data directory: no pool has ever run there`)
  if (!isUrl(from) && !isUrl(to) && resolve(from) === resolve(to))
    throw new ConfigError('--to', 'is the same directory as --from')
  await using opened = new Unwinding()
  const [source, target] = [sideOf(from, opened), sideOf(to, opened)]
  const reader = opened.use(await sourceOf(source))
  const writer = opened.use(await targetOf(target, restart === true))
  const copied: Record<string, number> = {}
  const say = (line: string): void => {
    if (json !== true) console.log(line)
  }
  say(`Copying ${reader.shown} to ${writer.shown}`)
  await copyRows(reader, writer, ({ step, table, rows }: CopyStep) => {
    if (step === 'verified') copied[table] = rows
    say(`  ${step === 'copied' ? 'copied  ' : 'the same'}  ${String(rows).padStart(9)}  ${table}`)
  })
  const problems = new Problems()
  const conversations = await copyTranscripts(source, target, problems)
  await writer.finish()
  if (json === true)
    return console.log(
      JSON.stringify({ from: reader.shown, to: writer.shown, copied, conversations, leftOut: problems.found }),
    )
  say(`Done: ${copied['sessions'] ?? 0} sessions.${staysOf(source, target, conversations)}`)
  tellProblems('Left out', problems.found as readonly FileProblem[])
}

function sideOf(name: string, opened: Unwinding): Side {
  if (isUrl(name)) return { address: addressOf(name) }
  const dataDir = new DataDir(name, systemClock)
  opened.defer(() => dataDir.release())
  return { dataDir }
}

const sourceOf = (side: Side): Promise<CopySource> =>
  'address' in side ? postgresSource(side.address) : sqliteSource(side.dataDir)

async function targetOf(side: Side, restart: boolean): Promise<CopyTarget> {
  if ('address' in side) return postgresTarget(side.address, { restart })
  return sqliteTarget(side.dataDir, { restart, makeApi: (path) => new SqliteApiStore(path).close() })
}

/** The transcripts that only the CLI's files have: another host has no such files. How many conversations were looked at. */
async function copyTranscripts(source: Side, target: Side, problems: Problems): Promise<number> {
  if (!('dataDir' in source) || !('address' in target)) return 0
  const { dataDir } = source
  const files = new ConversationFiles(dataDir.tenantFiles)
  const store = await PostgresStore.open(target.address, { isCopy: true })
  let looked = 0
  try {
    for await (const { tenant, cwd, sdkSessionId } of allSessions(store)) {
      if (cwd === undefined || sdkSessionId === undefined) continue
      const { configDir, tmpDir } = dataDir.placesOf(tenant)
      const place = { configDir, tmpDir, cwd, sessionId: sdkSessionId }
      await files
        .reconcile(place, sessionStore(store, tenant, systemClock))
        .catch((error: unknown) => problems.take(error))
      looked += 1
    }
  } finally {
    await store.close()
  }
  return looked
}

async function* allSessions(store: Store): AsyncGenerator<SessionRecord> {
  for (let after: SessionRecord | undefined; ;) {
    const page = await store.list({ limit: 200, ...(after === undefined ? {} : { after }) })
    yield* page
    after = page.at(-1)
    if (after === undefined) return
  }
}

/** What is not in any store. */
function staysOf(source: Side, target: Side, conversations: number): string {
  if ('dataDir' in source && 'address' in target)
    return ` The transcripts of ${conversations} conversations are in the database.
Workspaces and settings of agents stay in ${source.dataDir.path}/tenants. Start a host with that data directory to use them: other hosts
make empty workspaces.`
  if ('address' in source && 'dataDir' in target)
    return `
Workspaces stay at the hosts that made them. Start the pool with transcripts: 'store', so that sessions of other hosts go on here.`
  return ''
}
