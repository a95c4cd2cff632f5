import { createReadStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { linesOf } from '../../control/lines.ts'
import { ConfigError } from '../../errors.ts'
import type { BackupReport, FileProblem, ImportOptions, PruneReport, SessionInfo, Usage } from '../../index.ts'
import { fileProblem } from '../../options/file-problem.ts'
import { formatDuration, formatSize } from '../../units.ts'
import { onDataDir } from './host.ts'
import type { DataDirFlags } from '../shared/running-host.ts'
import { printable } from '../shared/style.ts'
import { tableOf } from '../shared/table.ts'
import type { Column } from '../shared/table.ts'
import { columnsOf, tellProblems } from '../shared/text.ts'
import { phaseWords } from '../shared/phase-words.ts'

/** The flags of the commands on one session. */
export interface SessionFlags extends DataDirFlags {
  tenant: string
  json?: true
}

/** The flags of `sessions list`. */
export interface ListFlags extends DataDirFlags {
  tenant?: string
  agent?: string
  limit: number
  after?: string
  json?: true
}

const tokens = ({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }: Usage): number =>
  inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens

const cost = ({ costUsd, estimated }: Usage): string => `${estimated ? '~' : ''}$${costUsd.toFixed(4)}`

export const ago = (at: number): string =>
  `${formatDuration(Math.max(0, Math.round((Date.now() - at) / 1000) * 1000))} ago`

const COLUMNS: readonly Column[] = [
  { head: 'tenant', title: true, least: 7 },
  { head: 'key', title: true, least: 12 },
  { head: 'agent', least: 8 },
  { head: 'state' },
  { head: 'phase', least: 8 },
  { head: 'turns', align: 'right' },
  { head: 'tokens', align: 'right' },
  { head: 'cost', align: 'right' },
  { head: 'last used' },
]

/** Lists sessions. */
export async function list({ tenant, agent, limit, after, json, ...flags }: ListFlags): Promise<void> {
  if (after !== undefined && tenant === undefined)
    throw new ConfigError('--after', 'needs --tenant: keys are those of a tenant')
  const page = {
    limit,
    ...(tenant === undefined ? {} : { tenant }),
    ...(agent === undefined ? {} : { agent }),
    ...(after === undefined || tenant === undefined ? {} : { after: { tenant, key: after } }),
  }
  const sessions = (await onDataDir(flags, { do: 'list', page })) as SessionInfo[]
  if (json === true) return console.log(JSON.stringify(sessions))
  if (sessions.length === 0) return console.log('No sessions.')
  const rows = sessions.map(({ usage, lastUsedAt, ...session }) => [
    printable(session.tenant),
    printable(session.key),
    session.agent,
    session.state,
    phaseWords(session.phase),
    session.turns,
    tokens(usage),
    cost(usage),
    ago(lastUsedAt),
  ])
  console.log(tableOf(COLUMNS, rows, columnsOf(process.stdout)))
  const last = sessions.at(-1)
  if (sessions.length === limit && last !== undefined)
    console.log(`There may be more: --tenant ${last.tenant} --after ${last.key}, or a larger --limit`)
}

/** Shows one session. */
export async function show(key: string, { tenant, json, ...flags }: SessionFlags): Promise<void> {
  const info = (await onDataDir(flags, { do: 'show', tenant, key })) as SessionInfo
  if (json === true) return console.log(JSON.stringify(info))
  const { usage, createdAt, lastUsedAt, phase, ...facts } = info
  const rows: [string, string][] = [
    ...Object.entries(facts).map(([name, value]): [string, string] => [name, String(value ?? '-')]),
    ['phase', phaseWords(phase) || '-'],
    ['created', ago(createdAt)],
    ['last used', ago(lastUsedAt)],
    ['input tokens', String(usage.inputTokens)],
    ['output tokens', String(usage.outputTokens)],
    ['cache', `${usage.cacheReadTokens} read, ${usage.cacheWriteTokens} written`],
    ['cost', `${cost(usage)}${usage.estimated ? ', a part of it reckoned' : ''}`],
  ]
  for (const [name, value] of rows) console.log(`${name.padEnd(14)}${value}`)
}

/** A host of an earlier release tells nothing. */
const leftOutOf = (report: unknown): readonly FileProblem[] => (report as BackupReport | undefined)?.leftOut ?? []

/** Writes a session into a file, which is there as a whole or not at all. */
export async function exportTo(
  key: string,
  file: string,
  { tenant, workspace, json, ...flags }: SessionFlags & { workspace: boolean },
): Promise<void> {
  const operation = { do: 'export', tenant, key, workspace } as const
  if (file === '-') {
    const report = await onDataDir(flags, operation, { take: (line) => process.stdout.write(line) })
    return tellProblems('Left out', leftOutOf(report))
  }
  const partial = `${file}.partial`
  const out = await open(partial, 'w', 0o600)
  try {
    const leftOut = leftOutOf(await onDataDir(flags, operation, { take: (line) => out.write(line) }))
    await out.sync()
    const { size } = await out.stat()
    await rename(partial, file)
    const facts = { file, size, leftOut }
    console.log(json === true ? JSON.stringify(facts) : `Exported ${key} to ${file}, ${formatSize(size)}`)
    tellProblems('Left out', leftOut)
  } finally {
    await out.close()
    await rm(partial, { force: true })
  }
}

async function* linesIn(file: string): AsyncGenerator<string> {
  const stream = (file === '-' ? process.stdin : createReadStream(file)).setEncoding('utf8')
  try {
    yield* linesOf(stream as AsyncIterable<string>)
  } catch (error) {
    throw new ConfigError('file', `${file} cannot be read: ${fileProblem(error)}`, { cause: error })
  }
}

/** Those of the flags that are given. */
const placeFlags = (flags: { [Name in keyof DataDirFlags]: DataDirFlags[Name] | undefined }): DataDirFlags =>
  Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))

/** Brings an exported session back. */
export async function importFrom(
  file: string,
  { json, dataDir, config, store, cwd, ...given }: DataDirFlags & ImportOptions & { json?: true },
): Promise<void> {
  const options = { ...given, ...(cwd === undefined ? {} : { cwd: resolve(cwd) }) }
  const flags = placeFlags({ dataDir, config, store })
  const info = (await onDataDir(flags, { do: 'import', options }, { input: linesIn(file) })) as SessionInfo
  console.log(
    json === true ? JSON.stringify(info) : `Imported ${info.key} of tenant ${info.tenant}, ${info.turns} turns`,
  )
}

/** Removes what has outlived its retention. */
export async function prune({ dryRun, json, ...flags }: DataDirFlags & { dryRun?: true; json?: true }): Promise<void> {
  const report = (await onDataDir(flags, { do: 'prune', dryRun: dryRun === true })) as PruneReport
  if (json === true) return console.log(JSON.stringify(report))
  for (const { tenant, key, reason, lastUsedAt } of report.sessions)
    console.log(`  ${tenant}/${key}: ${reason}, last used ${ago(lastUsedAt)}`)
  const verb = dryRun === true ? 'Would remove' : 'Removed'
  console.log(
    `${verb} ${report.sessions.length} sessions, ${report.events} events and ${report.leftovers} leftovers${report.more ? '; more are due' : ''}`,
  )
  tellProblems('Stays', report.problems)
}

/** Copies the data directory. */
export async function backup(dir: string, { json, ...flags }: DataDirFlags & { json?: true }): Promise<void> {
  const path = resolve(dir)
  const leftOut = leftOutOf(await onDataDir(flags, { do: 'backup', path }))
  console.log(json === true ? JSON.stringify({ path, leftOut }) : `Backed up to ${path}`)
  tellProblems('Left out', leftOut)
}
