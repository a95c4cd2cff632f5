import { access, constants, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { storeError } from '../errors.ts'
import type { DiskState } from './store.ts'

/** With less room than this the store, a transcript or a workspace is about to fail. */
const LEAST_BYTES = 1024 * 1024

/**
 * Looks whether something can be kept in a directory. `thorough` writes a file to find out, since quotas and failing disks say
 * nothing before.
 */
export async function checkDisk(path: string, { thorough }: { thorough: boolean }): Promise<DiskState> {
  let freeBytes: number | undefined
  try {
    await access(path, constants.W_OK)
    const { bavail, bsize, ffree, files } = await statfs(path)
    freeBytes = bavail * bsize
    // Some file systems count no files, and say 0 of 0.
    if (freeBytes < LEAST_BYTES || (files > 0 && ffree === 0)) return { freeBytes, trouble: 'disk_full' }
    if (thorough) await tryToWrite(join(path, `check-${process.pid}.tmp`))
    return { freeBytes, trouble: undefined }
  } catch (error) {
    return { freeBytes, trouble: storeError(path, error).code }
  }
}

async function tryToWrite(path: string): Promise<void> {
  try {
    await writeFile(path, Buffer.alloc(LEAST_BYTES), { mode: 0o600 })
  } finally {
    await rm(path, { force: true })
  }
}
