import type { Stats } from 'node:fs'
import { appendFile, lstat, mkdir, open, readlink, readdir, symlink } from 'node:fs/promises'
import { dirname, isAbsolute, join, normalize, sep } from 'node:path'
import { z } from 'zod'
import { ArchiveError } from '../errors.ts'
import type { SessionRecord, Store, StoredEvent, Usage, UsageRecord } from '../store/store.ts'

const FORMAT = 'claude-agent-pool session'
const VERSION = 1

/** Files travel in pieces of this size: a line of an archive stays within a few megabytes. */
const PIECE_BYTES = 1024 * 1024

const EVENTS_AT_ONCE = 500

/** Where the files of a session belong when it comes back. */
type Root = 'transcript' | 'workspace'

/** What an archive says of its session: its record in the store, less what belongs to the place it came from. */
export interface ArchivedRecord extends Omit<SessionRecord, 'uid' | 'cwd' | 'sdkSessionId' | 'usage'> {
  cwd?: string | undefined
  sdkSessionId?: string | undefined
  usage?: UsageRecord | undefined
}

/** Everything after the first line. */
type Line =
  | { event: StoredEvent }
  /** One of some pieces of a file, in order, in base64. */
  | { file: { in: Root; name: string; mode: number; data: string } }
  | { link: { name: string; target: string } }
  /** The last line, with the number of all lines. */
  | { end: { lines: number } }

const usage: z.ZodType<Usage> = z.strictObject({
  inputTokens: z.number(),
  outputTokens: z.number(),
  cacheReadTokens: z.number(),
  cacheWriteTokens: z.number(),
  costUsd: z.number(),
  estimated: z.boolean(),
})

const header: z.ZodType<{ record: ArchivedRecord }> = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
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
  z.strictObject({ link: z.strictObject({ name: z.string(), target: z.string() }) }),
  z.strictObject({ end: z.strictObject({ lines: z.int() }) }),
])

/** A session as it is taken out: its record, and where its files are. */
export interface ArchiveSource {
  record: SessionRecord
  store: Store
  /** The transcripts of its conversation, by names relative to the folder. */
  transcript: { folder: string; names: readonly string[] }
  /** Undefined: its workspace stays behind. */
  workspace: string | undefined
}

/** All of a session as lines of JSON, each with its newline. */
export async function* writeArchive(source: ArchiveSource, now: number): AsyncGenerator<string> {
  const { uid: _, ...record } = source.record
  let lines = 1
  const encode = (value: object): string => `${JSON.stringify(value)}\n`
  yield encode({ format: FORMAT, version: VERSION, exportedAt: now, record })
  for await (const item of itemsOf(source)) {
    lines += 1
    yield encode(item)
  }
  yield encode({ end: { lines: lines + 1 } })
}

async function* itemsOf({ record, store, transcript, workspace }: ArchiveSource): AsyncGenerator<Line> {
  for (let after = 0; ;) {
    const events = await store.readEvents(record.uid, { after, limit: EVENTS_AT_ONCE })
    for (const event of events) yield { event }
    const last = events.at(-1)
    if (last === undefined) break
    after = last.number
  }
  for (const name of transcript.names) yield* filesOf('transcript', transcript.folder, name)
  if (workspace === undefined) return
  for (const name of await readdir(workspace, { recursive: true })) yield* filesOf('workspace', workspace, name)
}

/** A file in pieces, or a link; anything else has nothing that could travel. */
async function* filesOf(place: Root, folder: string, name: string): AsyncGenerator<Line> {
  const path = join(folder, name)
  // What goes away while the session is taken out was no part of it.
  const found: Stats | undefined = await lstat(path).catch(() => undefined)
  if (found?.isSymbolicLink() === true && place === 'workspace') {
    yield { link: { name, target: await readlink(path) } }
  }
  if (found?.isFile() !== true) return
  const mode = found.mode & 0o777
  const file = await open(path)
  try {
    const buffer = Buffer.alloc(PIECE_BYTES)
    for (let first = true; ; first = false) {
      const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES)
      if (bytesRead === 0 && !first) return
      yield { file: { in: place, name, mode, data: buffer.toString('base64', 0, bytesRead) } }
    }
  } finally {
    await file.close()
  }
}

/** An archive that is being read: its first line, then the rest. */
export interface OpenArchive {
  record: ArchivedRecord
  rest: AsyncIterator<string>
}

/** Reads what session an archive holds. Throws ArchiveError for anything that is none. */
export async function openArchive(lines: AsyncIterable<string>): Promise<OpenArchive> {
  const rest = lines[Symbol.asyncIterator]()
  const first = await rest.next()
  const { record } = parse(header, first.done === true ? '' : first.value, 1)
  return { record, rest }
}

/** Where what an archive holds goes. */
export interface ArchiveTarget {
  transcript: string
  workspace: string
  /** Called with events in their order, numbered from 1. */
  events: (events: StoredEvent[]) => Promise<void>
}

/** Brings back all that follows the first line. Throws ArchiveError when it is damaged or cut short. */
export async function readArchive({ rest }: OpenArchive, target: ArchiveTarget): Promise<void> {
  const links: { name: string; target: string }[] = []
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
      events.push({ ...item.event, number })
      number += 1
      if (events.length >= EVENTS_AT_ONCE) await target.events(events.splice(0))
    } else if ('file' in item) {
      const { in: place, name, mode, data } = item.file
      const path = within(place === 'transcript' ? target.transcript : target.workspace, name)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await appendFile(path, Buffer.from(data, 'base64'), { mode })
    } else if ('link' in item) {
      links.push(item.link)
    } else {
      if (item.end.lines !== lines) throw new ArchiveError(`it says ${item.end.lines} lines and has ${lines}`)
      ended = true
    }
  }
  if (!ended) throw new ArchiveError(`it ends after ${lines} lines, before its end`)
  if (events.length > 0) await target.events(events)
  // Last, so that no file is written through one of them.
  for (const { name, target: to } of links) {
    const path = within(target.workspace, name)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await symlink(to, path)
  }
}

/** Names come from a file that anybody may have made. */
function within(folder: string, name: string): string {
  const clean = normalize(name)
  if (isAbsolute(clean) || clean === '.' || clean === '..' || clean.startsWith(`..${sep}`) || clean.includes('\0')) {
    throw new ArchiveError(`"${name}" would lie outside of the session`)
  }
  return join(folder, clean)
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
