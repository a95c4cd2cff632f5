import { Readable } from 'node:stream'
import { crc32, createInflateRaw } from 'node:zlib'
import { ApiError } from '../../errors.ts'

/** Reads a part of an archive that is on the disk. */
export interface ZipSource {
  size: number
  read(start: number, bytes: number): Promise<Readable>
}

/** A file in an archive. */
export interface ZipEntry {
  path: string
  /** Bytes, as the archive says. */
  size: number
  packed: number
  method: number
  crc: number
  /** Where its header begins. */
  at: number
}

const [LOCAL, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50]
const [LOCAL_BYTES, CENTRAL_BYTES, END_BYTES] = [30, 46, 22]

/** The end of an archive may have a comment. */
const LONGEST_END = END_BYTES + 0xffff

/** Bytes of the list of its files. */
const LONGEST_LIST = 2 ** 20

const [STORED, DEFLATED] = [0, 8]
const ENCRYPTED = 1
const UNIX = 3
const [KINDS, REGULAR, FOLDER] = [0o170000, 0o100000, 0o040000]

const invalid = (problem: string): ApiError =>
  new ApiError('invalid_request_error', `files: the zip archive ${problem}`)

/** True for the beginning of an archive. */
export const isZip = (head: Buffer): boolean => head.length >= 4 && head.readUInt32LE(0) === LOCAL

async function bytesOf(source: ZipSource, start: number, bytes: number): Promise<Buffer> {
  if (start < 0 || bytes < 0 || start + bytes > source.size) throw invalid('is not whole')
  if (bytes === 0) return Buffer.alloc(0)
  const pieces: Buffer[] = []
  for await (const piece of await source.read(start, bytes)) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

/** The files of an archive, at most `max`. Nothing that it says is believed: see `unzipped()`. Throws ApiError. */
export async function zipEntries(source: ZipSource, max: number): Promise<ZipEntry[]> {
  const tail = await bytesOf(source, Math.max(0, source.size - LONGEST_END), Math.min(source.size, LONGEST_END))
  let end = tail.length - END_BYTES
  while (end >= 0 && tail.readUInt32LE(end) !== END) end -= 1
  if (end < 0) throw invalid('has no end')
  const [count, bytes, at] = [tail.readUInt16LE(end + 10), tail.readUInt32LE(end + 12), tail.readUInt32LE(end + 16)]
  // Folders count as well.
  if (count > 2 * max || bytes > LONGEST_LIST) throw invalid(`has more than ${max} files`)
  const list = await bytesOf(source, at, bytes)
  const entries: ZipEntry[] = []
  let offset = 0
  for (let index = 0; index < count; index += 1) {
    if (offset + CENTRAL_BYTES > list.length || list.readUInt32LE(offset) !== CENTRAL) throw invalid('is damaged')
    const lengths = [28, 30, 32].map((field) => list.readUInt16LE(offset + field)) as [number, number, number]
    const next = offset + CENTRAL_BYTES + lengths[0] + lengths[1] + lengths[2]
    if (next > list.length) throw invalid('is damaged')
    const entry = entryAt(list, offset, lengths[0])
    if (entry !== undefined) entries.push(entry)
    offset = next
  }
  return entries
}

/** Undefined for a folder. */
function entryAt(list: Buffer, offset: number, nameBytes: number): ZipEntry | undefined {
  const path = nameIn(list.subarray(offset + CENTRAL_BYTES, offset + CENTRAL_BYTES + nameBytes))
  const mode = list.readUInt8(offset + 5) === UNIX ? list.readUInt32LE(offset + 38) >>> 16 : 0
  const kind = mode & KINDS
  if (path.endsWith('/')) return undefined
  if (kind !== 0 && kind !== REGULAR && kind !== FOLDER)
    throw invalid(`has ${JSON.stringify(path.slice(0, 200))}, which is a link or no plain file`)
  const method = list.readUInt16LE(offset + 10)
  if ((list.readUInt16LE(offset + 8) & ENCRYPTED) !== 0) throw invalid('is encrypted')
  if (method !== STORED && method !== DEFLATED) throw invalid('is packed by another method than deflate')
  return {
    path,
    method,
    crc: list.readUInt32LE(offset + 16),
    packed: list.readUInt32LE(offset + 20),
    size: list.readUInt32LE(offset + 24),
    at: list.readUInt32LE(offset + 42),
  }
}

function nameIn(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw invalid('has a name that is not UTF-8')
  }
}

/** The content of one file, as long as it is what the archive says of it. Throws ApiError. */
export async function* unzipped(source: ZipSource, entry: ZipEntry): AsyncGenerator<Buffer> {
  const head = await bytesOf(source, entry.at, LOCAL_BYTES)
  if (head.readUInt32LE(0) !== LOCAL) throw invalid('is damaged')
  const start = entry.at + LOCAL_BYTES + head.readUInt16LE(26) + head.readUInt16LE(28)
  if (start + entry.packed > source.size) throw invalid('is not whole')
  if (entry.method === STORED && entry.packed !== entry.size) throw invalid('is damaged')
  let [size, crc] = [0, 0]
  for await (const piece of await piecesOf(source, entry, start)) {
    size += piece.length
    if (size > entry.size) throw invalid(`has more in ${JSON.stringify(entry.path.slice(0, 200))} than it says`)
    crc = crc32(piece, crc)
    yield piece
  }
  if (size !== entry.size || crc !== entry.crc) throw invalid('is damaged')
}

async function piecesOf(
  source: ZipSource,
  { packed, method }: ZipEntry,
  start: number,
): Promise<AsyncIterable<Buffer>> {
  if (packed === 0) return Readable.from([])
  const stream = await source.read(start, packed)
  if (method === STORED) return stream as AsyncIterable<Buffer>
  const inflate = createInflateRaw()
  stream.once('error', (error) => inflate.destroy(error))
  inflate.once('close', () => stream.destroy())
  return inflated(stream.pipe(inflate))
}

async function* inflated(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* stream
  } catch (cause) {
    throw new ApiError('invalid_request_error', 'files: the zip archive is damaged', { cause })
  }
}
