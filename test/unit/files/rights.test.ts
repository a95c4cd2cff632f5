import { execFile, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { ALL_DONE } from '../../fixtures/file-work.ts'
import { hostileFolder } from '../../fixtures/hostile-tree.ts'
import { openFolder } from '../../fixtures/open-folder.ts'

const run = promisify(execFile)

/** `nobody`, on every system that has root. */
const UID = 65_534

interface Outcome {
  bytes: number
  read: Record<string, string>
  copied: string
  left: boolean
  copyLeft: unknown[]
  /** Problems of each piece of work. */
  told: Record<'size' | 'read' | 'copy' | 'remove' | 'again', string[]>
}

const isRoot = process.getuid?.() === 0

const canTakeRights = isRoot && openFolder !== undefined

/** Does everything as another user in a folder that has these in `tree`. */
async function asNobody(make: (tree: string) => void): Promise<{ outcome: Outcome; tree: string }> {
  const top = hostileFolder(openFolder)
  chmodSync(top, 0o755)
  const base = join(top, 'tenants')
  const tree = join(base, 't', 'tree')
  mkdirSync(join(tree, 'open'), { recursive: true })
  writeFileSync(join(tree, 'open', 'file'), 'open')
  make(tree)
  const own = [base, join(base, 't'), tree, join(tree, 'open'), join(tree, 'open', 'file')]
  for (const path of own) chownSync(path, UID, UID)
  const script = join(import.meta.dirname, '../../fixtures/unprivileged-files.ts')
  const { stdout } = await run(process.execPath, [script, base, String(UID)])
  return { outcome: JSON.parse(stdout) as Outcome, tree }
}

const NONE = { size: [], read: [], copy: [], remove: [], again: [] }

test.skipIf(!canTakeRights)(
  'rights that an agent took from its own files are given back for the work (needs root and a temporary folder open to all users)',
  async () => {
    const { outcome } = await asNobody((tree) => {
      for (const [name, mode] of [
        ['read-only', 0o500],
        ['closed', 0],
      ] as const) {
        mkdirSync(join(tree, name, 'inner'), { recursive: true })
        writeFileSync(join(tree, name, 'inner', 'file'), name)
        chmodSync(join(tree, name, 'inner', 'file'), 0)
        for (const path of [join(tree, name, 'inner', 'file'), join(tree, name, 'inner'), join(tree, name)])
          chownSync(path, UID, UID)
        chmodSync(join(tree, name, 'inner'), mode)
        chmodSync(join(tree, name), mode)
      }
    })
    const { bytes, read, copied, left, copyLeft, told } = outcome
    expect(bytes).toBe('openread-onlyclosed'.length)
    expect(read).toEqual({ 'open/file': 'open', 'read-only/inner/file': 'read-only', 'closed/inner/file': 'closed' })
    expect({ copied, left, copyLeft }).toEqual({ copied: 'open', left: false, copyLeft: [] })
    expect(told).toEqual(NONE)
  },
)

test.skipIf(!canTakeRights)(
  'what belongs to another user is named, all else goes, and a second removal says the same (needs root and a temporary folder open to all users)',
  async () => {
    const { outcome, tree } = await asNobody((tree) => {
      mkdirSync(join(tree, 'foreign'))
      writeFileSync(join(tree, 'foreign', 'file'), 'foreign')
      chmodSync(join(tree, 'foreign'), 0o755)
      writeFileSync(join(tree, 'secret'), 'secret', { mode: 0o600 })
    })
    const { read, told, left } = outcome
    expect(read).toEqual({ 'open/file': 'open', 'foreign/file': 'foreign' })
    expect(told.copy).toEqual(['t/tree/secret denied'])
    expect(told.remove).toEqual(['t/tree/foreign/file denied'])
    expect(told.again).toEqual(told.remove)
    expect(left).toBe(true)
    expect(readdirSync(tree)).toEqual(['foreign'])
    expect(statSync(join(tree, 'foreign')).mode & 0o777).toBe(0o755)
  },
)

test.skipIf(!canTakeRights)(
  'all work on a session goes on past what belongs to another user, and its deletion says what stays (needs root and a temporary folder open to all users)',
  async () => {
    const top = hostileFolder(openFolder)
    chownSync(top, UID, UID)
    const script = join(import.meta.dirname, '../../fixtures/unprivileged-pool.ts')
    const child = spawn(process.execPath, [script, join(top, 'data'), String(UID)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const workspace = String((await lines.next()).value)
    mkdirSync(join(workspace, 'foreign'))
    writeFileSync(join(workspace, 'foreign', 'file'), 'foreign', { mode: 0o600 })
    mkdirSync(join(workspace, 'closed'), { mode: 0o700 })
    child.stdin.end('go on\n')
    const codes: unknown = JSON.parse(String((await lines.next()).value))
    const stays = { delete: 'files_left', erase: 'files_left', again: 'files_left' }
    // The conversation is still that of the session.
    expect(codes).toEqual({ ...ALL_DONE, ...stays, import: 'session_conflict, done' })
    expect(readdirSync(workspace).toSorted()).toEqual(['closed', 'foreign'])
  },
)
