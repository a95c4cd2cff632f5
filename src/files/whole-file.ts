import { closeWritten } from './folder.ts'
import type { Operation } from './operation.ts'
import { Refusal } from './problem.ts'

/** The text of an open file. Throws a Refusal for one that has more. */
export async function textIn(operation: Operation, fd: number, maxBytes: number): Promise<string> {
  const buffer = Buffer.allocUnsafe(maxBytes + 1)
  let length = 0
  for (let count = 1; count > 0 && length <= maxBytes; length += count)
    count = await operation.call((calls) => calls.read(fd, buffer.subarray(length), length))
  if (length > maxBytes) throw new Refusal('too_large', `has more than ${maxBytes} bytes`)
  return buffer.toString('utf8', 0, length)
}

/** Writes an open file, and closes it. */
export async function write(operation: Operation, fd: number, pieces: Iterable<string>): Promise<void> {
  try {
    for (const piece of pieces) await operation.call((calls) => calls.write(fd, Buffer.from(piece)))
  } catch (error) {
    operation.drop(fd)
    throw error
  }
  await closeWritten(operation, fd)
}
