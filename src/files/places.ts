import { basename, isAbsolute, relative, resolve, sep } from 'node:path'
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import { canAnchor, nodeCalls } from './calls.ts'
import type { FileCalls } from './calls.ts'
import { Folder } from './folder.ts'
import { BOUNDS, Lane, Operation } from './operation.ts'
import type { Bounds } from './operation.ts'
import { Refusal, failure, isMissing } from './problem.ts'
import type { Problems } from './problem.ts'

/** What the work is made of; each has a default, and tests put others in. */
export interface FilesParts {
  clock?: Clock
  calls?: FileCalls
  /** Whether paths may begin at open folders. Default: as this system can. */
  anchored?: boolean
  bounds?: Partial<Bounds>
  /** Whose the folder of a tenant is, by its name, and how to work in it as that user. Undefined: the host's. */
  ownerOf?: (root: string) => Owner | undefined
}

/** Another user than the host's, who owns the folder of a tenant. */
export interface Owner {
  readonly uid: number
  /** With the rights of that user. */
  readonly calls: FileCalls
}

/** A name, and the folders on the way to it from its tenant's. */
export interface Place {
  /** The folder of all tenants. */
  base: string
  /** The tenant's folder; empty for the one that all of them are in. */
  root: string
  names: Buffer[]
  /** As messages show it. */
  path: string
}

/** What a place is in. */
const above = ({ root, names, ...place }: Place): Place =>
  names.length === 0 ? { ...place, root: '', names } : { ...place, root, names: names.slice(0, -1) }

export const nameOf = ({ root, names }: Place): Buffer => names.at(-1) ?? Buffer.from(root)

const OUTSIDE = new Refusal('kind', 'lies outside of the folders of this pool’s tenants')

function placeIn(base: string, path: string): Place | undefined {
  const inner = relative(base, path)
  const [root = '', ...names] = inner.split(sep)
  if (root === '' || root === '..' || isAbsolute(inner)) return undefined
  return { base, root, names: names.map((name) => Buffer.from(name)), path: inner.replaceAll(sep, '/') }
}

/** The workspace of a session whose store has come to another data directory: its tenant's folder is where it was. */
function workspaceElsewhere(path: string): Place | undefined {
  const workspaces = resolve(path, '..')
  return basename(workspaces) === 'workspaces' ? placeIn(resolve(workspaces, '../..'), path) : undefined
}

/** Finds places below the folder of all tenants, and opens what they are in, step by step. */
export class Places {
  readonly #base: string
  readonly #parts: { clock: Clock; calls: FileCalls; anchored: boolean; bounds: Bounds; lane: Lane }
  readonly #ownerOf: (root: string) => Owner | undefined

  constructor(base: string, { clock, calls, anchored, bounds, ownerOf = () => undefined }: FilesParts) {
    this.#base = resolve(base)
    this.#ownerOf = ownerOf
    this.#parts = {
      clock: clock ?? systemClock,
      calls: calls ?? nodeCalls,
      anchored: anchored ?? canAnchor(),
      bounds: { ...BOUNDS, ...bounds },
      lane: new Lane(),
    }
  }

  /** Throws FilesError for a path that is in no tenant's folder. */
  locate(path: string): Place {
    const place = placeIn(this.#base, path) ?? workspaceElsewhere(path)
    if (place === undefined) throw failure('working with files', path, OUTSIDE)
    return place
  }

  /** True for a path that is in no tenant's folder, or in none any more. What is there is noted, and left alone. */
  async isElsewhere(path: string, problems: Problems): Promise<boolean> {
    try {
      this.locate(path)
      return false
    } catch {
      const found = await this.#parts.calls.lstat(path).catch(() => undefined)
      if (found !== undefined) problems.note(path, OUTSIDE)
      return true
    }
  }

  /** Begins work for the tenant of this place, with the rights of the user who owns its folder. */
  operation({ root }: Place, bounds: Partial<Bounds> = {}): Operation {
    const owner = root === '' ? undefined : this.#ownerOf(root)
    return this.#begin(root, bounds, owner && { calls: owner.calls })
  }

  /** The same with the rights of the host. */
  operationOfHost({ root }: Place, bounds: Partial<Bounds>): Operation {
    return this.#begin(root, bounds, { owner: this.#ownerOf(root)?.uid })
  }

  #begin(
    root: string,
    bounds: Partial<Bounds>,
    parts: { calls?: FileCalls; owner?: number | undefined } = {},
  ): Operation {
    return new Operation(root, { ...this.#parts, ...parts, bounds: { ...this.#parts.bounds, ...bounds } })
  }

  /** Opens the folder that is this place. */
  open(operation: Operation, place: Place): Promise<Folder> {
    return this.#descend(operation, place, (folder, name) => folder.folder(name))
  }

  /** Opens what this place is in. */
  parent(operation: Operation, place: Place): Promise<Folder> {
    return this.open(operation, above(place))
  }

  /** Opens the folder that is this place, and makes what is missing on the way. */
  async make(operation: Operation, place: Place): Promise<Folder> {
    const descend = (): Promise<Folder> => this.#descend(operation, place, (folder, name) => folder.make(name))
    try {
      return await descend()
    } catch (error) {
      // The tenant's own folder is missing.
      if (!isMissing(error) || place.root === '') throw error
    }
    const base = await Folder.open(operation, place.base)
    const root = await base.make(Buffer.from(place.root)).finally(() => base.drop())
    root.drop()
    return descend()
  }

  /** The same of what this place is in. */
  makeParent(operation: Operation, place: Place): Promise<Folder> {
    return this.make(operation, above(place))
  }

  async #descend(
    operation: Operation,
    { base, root, names }: Place,
    step: (folder: Folder, name: Buffer) => Promise<Folder>,
  ): Promise<Folder> {
    let folder = await Folder.open(operation, root === '' ? base : `${base}${sep}${root}`)
    for (const name of names) {
      await using outer = folder
      folder = await step(outer, name)
    }
    return folder
  }
}
