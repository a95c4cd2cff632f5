import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { StartError, StoreError } from '../errors.ts'
import type { UserRange } from '../options/isolation.ts'

interface Assigned {
  /** The next one: a number that was given is never given again, since files elsewhere may still be its. */
  next: number
  users: Record<string, number>
}

/** The user of each tenant, by the name of its folder. A file of the data directory keeps them: they say whose the files on this disk are. */
export class TenantUsers {
  readonly #file: string
  readonly #range: UserRange
  readonly #users: Map<string, number>
  #next: number

  /** `owners`: of the folders that are there. None of them is given to another tenant, even if the file is lost. Throws StoreError for a file that cannot be read. */
  constructor(file: string, range: UserRange, owners: Iterable<number> = []) {
    this.#file = file
    this.#range = range
    const { next, users } = readAssigned(file)
    this.#users = new Map(Object.entries(users))
    this.#next = Math.max(next, range.first)
    for (const uid of owners) if (uid < range.first + range.count) this.#next = Math.max(this.#next, uid + 1)
  }

  /** Undefined: it has none yet. */
  known(folder: string): number | undefined {
    return this.#users.get(folder)
  }

  /** The user of a tenant, which gets one if it has none. Throws StartError if all of the range are given, and what the system says. */
  of(folder: string): number {
    const known = this.#users.get(folder)
    if (known !== undefined) return known
    const { first, count } = this.#range
    const uid = this.#next
    if (uid >= first + count)
      throw new StartError(
        'isolation',
        `all ${count} users of isolation.uids have been given to tenants, and none is given twice; give the range a larger count`,
      )
    this.#write({ next: uid + 1, users: { ...Object.fromEntries(this.#users), [folder]: uid } })
    this.#next = uid + 1
    this.#users.set(folder, uid)
    return uid
  }

  /** The tenant is gone. */
  forget(folder: string): void {
    if (!this.#users.delete(folder)) return
    this.#write({ next: this.#next, users: Object.fromEntries(this.#users) })
  }

  #write(assigned: Assigned): void {
    const unfinished = `${this.#file}.unfinished`
    writeFileSync(unfinished, JSON.stringify(assigned), { mode: 0o600, flush: true })
    renameSync(unfinished, this.#file)
  }
}

function readAssigned(file: string): Assigned {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { next: 0, users: {} }
    throw error
  }
  try {
    const { next, users } = JSON.parse(text) as Assigned
    if (Number.isSafeInteger(next) && Object.values(users).every((uid) => Number.isSafeInteger(uid) && uid < next))
      return { next, users }
  } catch {
    // It says the same as one that has other things in it.
  }
  throw new StoreError(`${file} does not say which users tenants have; restore it from a backup`)
}
