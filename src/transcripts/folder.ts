import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { TranscriptPlace } from '../driver/driver.ts'

/** The CLI cuts longer names and adds a hash. */
const LONGEST_NAME = 200

/** The path without symbolic links. If the directory is gone, its nearest existing parent is resolved. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const parent = dirname(path)
    return parent === path ? path : join(realPath(parent), basename(path))
  }
}

/** The CLI's hash of a name that it cuts. */
function hashOf(text: string): string {
  let hash = 0
  for (let at = 0; at < text.length; at += 1) hash = (hash * 31 + text.charCodeAt(at)) | 0
  return Math.abs(hash).toString(36)
}

/** The CLI's name for the folder of a working directory. It composes Unicode (NFC) on macOS only. */
export function folderName(cwd: string): string {
  const path = process.platform === 'darwin' ? realPath(cwd).normalize('NFC') : realPath(cwd)
  const name = path.replace(/[^a-zA-Z0-9]/g, '-')
  return name.length <= LONGEST_NAME ? name : `${name.slice(0, LONGEST_NAME)}-${hashOf(path)}`
}

/** The folder in which the CLI keeps the transcripts of conversations in a working directory. */
export const transcriptFolder = ({ configDir, cwd }: Pick<TranscriptPlace, 'configDir' | 'cwd'>): string =>
  join(configDir, 'projects', folderName(cwd))
