import { kindOf } from './calls.ts'
import { Folder } from './folder.ts'
import type { Operation } from './operation.ts'
import { Problems } from './problem.ts'
import { walk } from './walk.ts'

/**
 * Changes the owner of what one user has in a folder. The folder itself comes last, so an interrupted change is repeated. Needs root. Skips
 * hard-linked files, because a user can link files of other users.
 */
export async function ownTree(
  operation: Operation,
  path: string,
  { from, to }: { from: number; to: number },
): Promise<void> {
  await using folder = await Folder.open(operation, path)
  for await (const { folder: parent, name } of walk(operation, folder, { problems: new Problems() })) {
    const found = await parent.lstat(name)
    const isAlone = kindOf(found) === 'folder' || found.nlink === 1
    if (found.uid === from && isAlone) await operation.call((calls) => calls.lchown(parent.at(name), to))
  }
  await operation.call((calls) => calls.lchown(path, to))
}
