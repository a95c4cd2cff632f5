/** A file that goes into an archive as it is. */
export interface ZippedFile {
  path: string
  size: number
  crc: number
}

const [LOCAL_BYTES, CENTRAL_BYTES, END_BYTES] = [30, 46, 22]

/** UTF-8 names. */
const FLAGS = 0x0800

/** 1 January 1980, the first day that archives know. */
const DAY = 0x21

function localHeader({ size, crc }: ZippedFile, name: Buffer): Buffer {
  const head = Buffer.alloc(LOCAL_BYTES)
  head.writeUInt32LE(0x04034b50, 0)
  head.writeUInt16LE(20, 4)
  head.writeUInt16LE(FLAGS, 6)
  head.writeUInt16LE(DAY, 12)
  head.writeUInt32LE(crc, 14)
  head.writeUInt32LE(size, 18)
  head.writeUInt32LE(size, 22)
  head.writeUInt16LE(name.length, 26)
  return Buffer.concat([head, name])
}

function centralHeader({ size, crc }: ZippedFile, name: Buffer, at: number): Buffer {
  const head = Buffer.alloc(CENTRAL_BYTES)
  head.writeUInt32LE(0x02014b50, 0)
  head.writeUInt16LE(20, 4)
  head.writeUInt16LE(20, 6)
  head.writeUInt16LE(FLAGS, 8)
  head.writeUInt16LE(DAY, 14)
  head.writeUInt32LE(crc, 16)
  head.writeUInt32LE(size, 20)
  head.writeUInt32LE(size, 24)
  head.writeUInt16LE(name.length, 28)
  head.writeUInt32LE(at, 42)
  return Buffer.concat([head, name])
}

function endOf(files: number, bytes: number, at: number): Buffer {
  const end = Buffer.alloc(END_BYTES)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(files, 8)
  end.writeUInt16LE(files, 10)
  end.writeUInt32LE(bytes, 12)
  end.writeUInt32LE(at, 16)
  return end
}

/** Bytes of the archive of these files. */
export const zipSize = (files: readonly ZippedFile[]): number =>
  files.reduce(
    (sum, { path, size }) => sum + LOCAL_BYTES + CENTRAL_BYTES + 2 * Buffer.byteLength(path) + size,
    END_BYTES,
  )

/** An archive of files that are not packed: there are fewer than 64 Ki of them, and less than 4 GiB. */
export async function* zipped<File extends ZippedFile>(
  files: readonly File[],
  contentOf: (file: File) => AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  const list: Buffer[] = []
  let at = 0
  for (const file of files) {
    const name = Buffer.from(file.path)
    const head = localHeader(file, name)
    list.push(centralHeader(file, name, at))
    yield head
    yield* contentOf(file)
    at += head.length + file.size
  }
  const central = Buffer.concat(list)
  yield central
  yield endOf(files.length, central.length, at)
}
