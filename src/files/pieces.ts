import type { OpenFile } from './folder.ts'
import type { Operation } from './operation.ts'

const PIECE_BYTES = 1024 * 1024

/** What `blocks` of a file counts. */
export const BLOCK_BYTES = 512

/** What file systems give to files at the least. */
const PAGE_BYTES = 4096

const ZEROS = Buffer.alloc(PIECE_BYTES)

/** Some bytes of a file, in order. Without `data` they are all zeros. */
export interface Piece {
  bytes: number
  data: Buffer | undefined
}

const isZeros = (data: Buffer): boolean => data.equals(ZEROS.subarray(0, data.length))

/** What those pages of it have room for that are not all zeros. */
function roomOf(data: Buffer): number {
  let pages = 0
  for (let at = 0; at < data.length; at += PAGE_BYTES) if (!isZeros(data.subarray(at, at + PAGE_BYTES))) pages += 1
  return pages * PAGE_BYTES
}

/**
 * A file in pieces, each to be used before the next; none for an empty one. No more than it had when it was opened: it may grow as
 * fast as it is read. Behind the last page that takes room on the disk there are only zeros, which are not read.
 */
export async function* piecesIn(operation: Operation, { fd, stats }: OpenFile): AsyncGenerator<Piece> {
  const buffer = Buffer.allocUnsafe(PIECE_BYTES)
  const hasHoles = stats.blocks * BLOCK_BYTES < stats.size
  let left = hasHoles ? stats.blocks * BLOCK_BYTES : Infinity
  let at = 0
  while (at < stats.size && left > 0) {
    const count = await operation.call((calls) => calls.read(fd, buffer.subarray(0, stats.size - at), at))
    if (count === 0) return
    const data = buffer.subarray(0, count)
    const room = hasHoles ? roomOf(data) : count
    yield { bytes: count, data: hasHoles && room === 0 ? undefined : data }
    at += count
    left -= room
  }
  if (at < stats.size) yield { bytes: stats.size - at, data: undefined }
}
