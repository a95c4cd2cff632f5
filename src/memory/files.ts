import { readFile } from 'node:fs/promises'
import { readSmallFile } from '../small-file.ts'

/** Reads a small file; undefined where there is none, or none that may be read. */
export type ReadFile = (path: string) => string | undefined

/** Reads files of the system below `root`: `/`, or a recorded tree. */
export const filesBelow =
  (root = ''): ReadFile =>
  (path) => {
    try {
      return readSmallFile(`${root}${path}`)
    } catch {
      return undefined
    }
  }

/** The same in another thread, for what takes the kernel long. */
export type ReadFileLater = (path: string) => Promise<string | undefined>

export const readFileLater: ReadFileLater = (path) => readFile(path, 'latin1').catch(() => undefined)

/** The number after `name` in lines like `name 123` or `name: 123 kB`; in bytes if the line says kB. */
export function fieldOf(text: string, name: string): number | undefined {
  // Names hold no characters that an expression would take for its own.
  const match = new RegExp(`^${name}:?\\s+(\\d+)( kB)?$`, 'm').exec(text)
  if (match?.[1] === undefined) return undefined
  return Number(match[1]) * (match[2] === undefined ? 1 : 1024)
}
