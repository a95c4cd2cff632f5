import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Bytes of a file, or of all files below a folder; 0 where there is nothing. */
export async function bytesOn(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory() !== true) return found?.size ?? 0
  let bytes = 0
  for (const name of await readdir(path, { recursive: true }).catch(() => [])) {
    const file = await stat(join(path, name)).catch(() => undefined)
    if (file?.isFile() === true) bytes += file.size
  }
  return bytes
}
