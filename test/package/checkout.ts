import { cp, readdir, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'

const project = resolve(import.meta.dirname, '../..')

/** What a fresh checkout does not have, or what is shared with it. */
const LEFT_OUT: ReadonlySet<string> = new Set(['.git', 'dist', 'coverage', 'node_modules', '.claude-agent-pool'])

/** Makes a checkout in this folder, where a test can build while others use what was built here. */
export async function checkout(folder: string): Promise<void> {
  const names = (await readdir(project)).filter((name) => !LEFT_OUT.has(name))
  await Promise.all(names.map((name) => cp(join(project, name), join(folder, name), { recursive: true })))
  await symlink(join(project, 'node_modules'), join(folder, 'node_modules'), 'dir')
}
