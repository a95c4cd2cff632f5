import { StartError } from '../errors.ts'
import { obstacleAt } from '../files/host-paths.ts'

const SENTENCES: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist any more; make it again',
  ENOTDIR: 'is not a directory any more; make it one again',
  EACCES: 'cannot be entered by this process; permit it to read and enter the directory',
}

/** Throws StartError if a process cannot run in a directory of the caller. The CLI's own message would blame the binary. */
export async function checkCwd(path: string, user?: number): Promise<void> {
  const obstacle = await obstacleAt(path, user)
  if (obstacle === undefined) return
  if (obstacle === 'EACCES' && user !== undefined)
    throw new StartError(
      'spawn',
      `the working directory ${path} cannot be entered by user ${user}, whom the tenant has; permit it to read and enter the directory and those above, or delete the session`,
    )
  const problem = SENTENCES[obstacle] ?? `cannot be used (${obstacle}); repair it`
  throw new StartError('spawn', `the working directory ${path} ${problem}, or delete the session`)
}

/** What the agent is told. */
export const madeAgain = (path: string): string =>
  `The working directory ${path} was gone and has been made again. It is empty: the files that were in it are lost.`
