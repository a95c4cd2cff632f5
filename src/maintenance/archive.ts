import { join } from 'node:path'
import { z } from 'zod'
import { ArchiveError } from '../errors.ts'
import type { Problems } from '../files/problem.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import { ArchivedFiles } from './archived-files.ts'
import type { ArchiveRoots } from './archived-files.ts'
import type { SessionRecord, Store, StoredEvent, Usage } from '../store/store.ts'
import type { StoredUsage } from '../store/usage-json.ts'
import { storedUsage } from '../store/usage-json.ts'

const FORMAT = 'claude-agent-pool session'
const VERSION = 1

const EVENTS_AT_ONCE = 500

/** Where the files of a session belong when it comes back. */
type Root = 'transcript' | 'workspace'

/** What an archive says of its session: its record in the store, less what belongs to the place it came from. */
export interface ArchivedRecord extends Omit<SessionRecord, 'uid' | 'cwd' | 'sdkSessionId' | 'usage'> {
  cwd?: string | undefined
  sdkSessionId?: string | undefined
  usage?: StoredUsage | undefined
}

/** Everything after the first line. */
type Line =
  | { event: StoredEvent }
  /** One of some pieces of a file, in order, in base64. */
  | { file: { in: Root; name: string; mode: number; data: string } }
  /** So many zeros of a file, in the place of a piece. Earlier releases do not know it, and refuse such an archive. */
  | { hole: { in: Root; name: string; mode: number; bytes: number } }
  | { link: { name: string; target: string } }
  /** The last line, with the number of all lines. */
  | { end: { lines: number } }

const usage: z.ZodType<Usage> = z.strictObject({
  inputTokens: z.number(),
  outputTokens: z.number(),
  cacheReadTokens: z.number(),
  cacheWriteTokens: z.number(),
  webSearches: z.number().optional(),
  costUsd: z.number(),
  estimated: z.boolean(),
})

const header: z.ZodType<{ record: ArchivedRecord; parts?: Readonly<Record<string, unknown>> | undefined }> = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  parts: z.record(z.string(), z.unknown()).optional(),
  record: z.object({
    tenant: z.string(),
    key: z.string(),
    agent: z.string(),
    cwd: z.string().optional(),
    ownsCwd: z.boolean(),
    sdkSessionId: z.uuid().optional(),
    begun: z.boolean(),
    turns: z.int().nonnegative(),
    usage: z
      .strictObject({
        total: usage,
        told: usage,
        saved: usage,
        reckoned: usage.optional(),
        notedAt: z.number().optional(),
        activeMs: z.number().optional(),
      })
      .optional(),
    createdAt: z.number(),
    lastUsedAt: z.number(),
  }),
})

const event: z.ZodType<StoredEvent> = z.strictObject({
  number: z.int().positive(),
  id: z.string(),
  type: z.string(),
  at: z.number(),
  json: z.string(),
})

const line: z.ZodType<Line> = z.union([
  z.strictObject({ event }),
  z.strictObject({
    file: z.strictObject({
      in: z.enum(['transcript', 'workspace']),
      name: z.string(),
      mode: z.int(),
      data: z.base64(),
    }),
  }),
  z.strictObject({
    hole: z.strictObject({
      in: z.enum(['transcript', 'workspace']),
      name: z.string(),
      mode: z.int(),
      bytes: z.int().nonnegative(),
    }),
  }),
  z.strictObject({ link: z.strictObject({ name: z.string(), target: z.string() }) }),
  z.strictObject({ end: z.strictObject({ lines: z.int() }) }),
])

/** A session as it is taken out: its record, and where its files are. */
export interface ArchiveSource {
  record: SessionRecord
  store: Store
  tenantFiles: TenantFiles
  /** Gets what could not be read. */
  problems: Problems
  /** The transcripts of its conversation, by names relative to the folder. */
  transcript: { folder: string; names: readonly string[] }
  /** Undefined: its workspace stays behind. */
  workspace: string | undefined
  /** What is kept of it beside the pool. Earlier releases pass over it. */
  parts: Readonly<Record<string, object>>
}

/** All of a session as lines of JSON, each with its newline. */
export async function* writeArchive(source: ArchiveSource, now: number): AsyncGenerator<string> {
  const { uid: _, usage: used, ...rest } = source.record
  const record = { ...rest, usage: used && storedUsage(used) }
  let lines = 1
  const encode = (value: object): string => `${JSON.stringify(value)}\n`
  const parts = Object.keys(source.parts).length === 0 ? {} : { parts: source.parts }
  yield encode({ format: FORMAT, version: VERSION, exportedAt: now, record, ...parts })
  for await (const item of itemsOf(source)) {
    lines += 1
    yield encode(item)
  }
  yield encode({ end: { lines: lines + 1 } })
}

async function* itemsOf(source: ArchiveSource): AsyncGenerator<Line> {
  const { record, store, transcript, workspace } = source
  for (let after = 0; ;) {
    const events = await store.readEvents(record.uid, { after, limit: EVENTS_AT_ONCE })
    for (const event of events) yield { event }
    const last = events.at(-1)
    if (last === undefined) break
    after = last.number
  }
  for (const name of transcript.names) yield* filesOf(source, 'transcript', join(transcript.folder, name), name)
  if (workspace !== undefined) yield* filesOf(source, 'workspace', workspace)
}

/** Files in pieces, and links; anything else has nothing that could travel. */
async function* filesOf(
  { tenantFiles, problems }: ArchiveSource,
  place: Root,
  path: string,
  only?: string,
): AsyncGenerator<Line> {
  const kind = only === undefined ? 'folder' : 'file'
  for await (const content of tenantFiles.contents(path, problems, { only: kind })) {
    const name = only ?? content.path
    if (content.kind === 'file') {
      yield { file: { in: place, name, mode: content.mode, data: content.data.toString('base64') } }
    } else if (content.kind === 'hole') {
      yield { hole: { in: place, name, mode: content.mode, bytes: content.bytes } }
    } else if (place === 'workspace') yield { link: { name, target: content.target } }
  }
}

/** An archive that is being read: its first line, then the rest. */
export interface OpenArchive {
  record: ArchivedRecord
  parts: Readonly<Record<string, unknown>>
  rest: AsyncIterator<string>
}

/** Reads what session an archive holds. Throws ArchiveError for anything that is none. */
export async function openArchive(lines: AsyncIterable<string>): Promise<OpenArchive> {
  const rest = lines[Symbol.asyncIterator]()
  const first = await rest.next()
  const { record, parts = {} } = parse(header, first.done === true ? '' : first.value, 1)
  return { record, parts, rest }
}

/** Where what an archive holds goes. */
export interface ArchiveTarget extends ArchiveRoots {
  tenantFiles: TenantFiles
  /** Called with events in their order, numbered from 1. */
  events: (events: StoredEvent[]) => Promise<void>
}

/** Brings back all that follows the first line. Throws ArchiveError when it is damaged, cut short, or would reach beyond its session. */
export async function readArchive({ rest }: OpenArchive, target: ArchiveTarget): Promise<void> {
  const files = new ArchivedFiles(target.tenantFiles, target)
  try {
    await readLines(rest, target, files)
    await files.finish()
  } finally {
    files.drop()
  }
}

async function readLines(rest: AsyncIterator<string>, target: ArchiveTarget, files: ArchivedFiles): Promise<void> {
  const events: StoredEvent[] = []
  let number = 1
  let lines = 1
  let ended = false
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    lines += 1
    if (ended) throw new ArchiveError(`line ${lines}: nothing may follow the end`)
    const item = parse(line, next.value, lines)
    if ('event' in item) {
      // Numbers begin at 1 wherever a session begins, also when its oldest events were removed.
      events.push({ ...checkEvent(item.event, lines), number })
      number += 1
      if (events.length >= EVENTS_AT_ONCE) await target.events(events.splice(0))
    } else if ('file' in item) {
      const { data, ...piece } = item.file
      await files.add(piece, (file) => file.write(Buffer.from(data, 'base64')))
    } else if ('hole' in item) {
      const { bytes, ...piece } = item.hole
      await files.add(piece, (file) => file.skip(bytes))
    } else if ('link' in item) {
      files.addLink(item.link)
    } else {
      if (item.end.lines !== lines) throw new ArchiveError(`it says ${item.end.lines} lines and has ${lines}`)
      ended = true
    }
  }
  if (!ended) throw new ArchiveError(`it ends after ${lines} lines, before its end`)
  if (events.length > 0) await target.events(events)
}

/** Later readers of the events expect JSON. */
function checkEvent(event: StoredEvent, number: number): StoredEvent {
  try {
    const value: unknown = JSON.parse(event.json)
    if (typeof value === 'object' && value !== null) return event
  } catch {
    // Said below.
  }
  throw new ArchiveError(`line ${number} has an event that is none`)
}

function parse<T>(schema: z.ZodType<T>, text: string, number: number): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ArchiveError(number === 1 ? 'it is no exported session' : `line ${number} is damaged`)
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const { version } = value as { version?: unknown }
  if (number === 1 && typeof version === 'number' && version > VERSION)
    throw new ArchiveError(
      `it has version ${version}, newer than the ${VERSION} of this release; upgrade claude-agent-pool`,
    )
  throw new ArchiveError(number === 1 ? 'it is no exported session' : `line ${number} is not as it should be`)
}
