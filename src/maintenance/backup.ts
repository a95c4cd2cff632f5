import { resolve } from 'node:path'
import type { FileProblem } from '../errors.ts'
import { ConfigError, storeError, StoreError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import { chosenPath, newCopy } from '../files/host-paths.ts'
import { Problems } from '../files/problem.ts'
import type { PoolFiles, Store } from '../store/store.ts'

/** The files that a backup could not copy, at most 100 of them. */
export interface BackupReport {
  leftOut: readonly FileProblem[]
}

export interface BackupContext {
  store: Store
  files: PoolFiles
  emitter: PoolEmitter
}

/** Copies everything that a pool keeps. */
export class Backup {
  readonly #context: BackupContext

  constructor(context: BackupContext) {
    this.#context = context
  }

  /** Writes a copy of everything into a new directory, which can take the place of the data directory. */
  async write(to: string): Promise<BackupReport> {
    const { store, files, emitter } = this.#context
    const path = resolve(to)
    if (store.backup === undefined)
      throw new StoreError('the store of this pool cannot be copied from here; back it up by its own means')
    if ((await chosenPath(path)) !== undefined)
      throw new ConfigError('path', `${path} exists already; name a new directory`)
    const problems = new Problems()
    try {
      await newCopy(path, async (partial) => {
        // The store first: transcripts only ever grow, so they have at least what the store knows of.
        await store.backup?.(files.storeFileIn(partial))
        await files.copyFiles(partial, problems)
      })
    } catch (error) {
      throw storeError(`the backup ${path} cannot be written`, error)
    }
    emitter.warnOf(`the backup ${path} lacks files`, problems)
    return { leftOut: problems.found }
  }
}
