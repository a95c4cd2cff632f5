import { accessSync, constants } from 'node:fs'
import { dirname } from 'node:path'

/** Why nothing can be written beside this file, of which SQLite says only that it cannot open it. */
export function unwritable(path: string): unknown {
  try {
    accessSync(dirname(path), constants.W_OK)
    return undefined
  } catch (error) {
    return error
  }
}
