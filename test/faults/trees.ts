import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Site } from '../fixtures/real-pool.ts'
import type { Seen, Witness } from './witness.ts'

/** How a Bash command lets a process go. Each line ends up as one `sleep` of its own length. */
const WAYS = {
  'a session of its own': 'setsid sleep 300 &',
  'a new parent': '(sleep 301 &)',
  'a session of its own and a new parent': '(setsid sleep 302 &)',
  'forked twice': '((setsid sh -c "sleep 303 & wait" &) &)',
  'an empty environment': 'env -i sleep 304 &',
  'an empty environment and a session of its own': 'env -i setsid sleep 305 &',
  'an empty environment and a new parent': '(env -i sleep 306 &)',
  /** Only a cgroup holds this: nobody looked before its parent was gone. */
  'everything at once': '(env -i setsid sleep 308 &)',
} as const

export type Way = keyof typeof WAYS

/** All that can be found without a cgroup. */
export const ALL_WAYS: Way[] = (Object.keys(WAYS) as Way[]).filter((way) => way !== 'everything at once')

/** A prompt whose Bash command starts these and then stays. */
export async function bashTree(site: Site, ways: readonly Way[]): Promise<string> {
  const script = join(site.root, 'tree.sh')
  await writeFile(script, `${ways.map((way) => WAYS[way]).join('\n')}\nsleep 307\n`)
  return `@sim bash sh ${script}`
}

/** Waits until all of the tree are there. */
export const treeStands = (witness: Witness, ways: readonly Way[]): Promise<Seen[]> =>
  Promise.all(
    [...ways.map((way) => /\d{3}/.exec(WAYS[way])?.[0] ?? ''), '307'].map((length) => witness.sees(`sleep ${length}`)),
  ).then((found) => found.flat())
