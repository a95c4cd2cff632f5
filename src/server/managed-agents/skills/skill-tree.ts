import { ApiError } from '../../errors.ts'

/** The file that makes a folder a skill. */
export const SKILL_FILE = 'SKILL.md'

/** Files of one skill. */
export const MAX_FILES = 500

/** Bytes of one name, and of a whole path. */
const [LONGEST_NAME, LONGEST_PATH] = [255, 512]

/** What a file manager adds, and what would configure more than a skill. */
const ADDED = /(?:^|\/)(?:__MACOSX(?:\/|$)|\.DS_Store$)/
const SETTINGS = /(?:^|\/)\.claude(?:-plugin)?(?:\/|$)/i

interface Placed {
  path: string
}

export interface SkillTree<T> {
  /** The name of its folder; undefined: it came without one. */
  folder: string | undefined
  /** Their paths within the folder. */
  files: T[]
}

const invalid = (problem: string): ApiError => new ApiError('invalid_request_error', `files: ${problem}`)

const shown = (path: string): string => JSON.stringify(path.slice(0, 200))

/** A path that a client or an archive has given, in one form. Undefined for what a file manager has added. Throws ApiError. */
export function skillPath(given: string): string | undefined {
  const parts = given.split('/').filter((part) => part !== '' && part !== '.')
  const path = parts.join('/')
  if (ADDED.test(path)) return undefined
  if (parts.length === 0) throw invalid('one has no name; send the path of each, like my-skill/SKILL.md')
  if (given.includes('\\')) throw invalid(`${shown(given)} has a "\\"; write "/" between its parts`)
  if (parts.includes('..')) throw invalid(`${shown(given)} leads out of its folder`)
  if (/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(path) || !path.isWellFormed())
    throw invalid(`${shown(given)} has characters that do not belong in a name`)
  if (Buffer.byteLength(path) > LONGEST_PATH || parts.some((part) => Buffer.byteLength(part) > LONGEST_NAME))
    throw invalid(`${shown(given)} has more than ${LONGEST_NAME} bytes in a name, or ${LONGEST_PATH} in all`)
  if (SETTINGS.test(path)) throw invalid(`${shown(given)} is no part of a skill; leave folders named .claude out`)
  return path
}

/** The one folder that has a SKILL.md and all files. Throws ApiError. */
export function skillTree<T extends Placed>(files: readonly T[]): SkillTree<T> {
  if (files.length > MAX_FILES) throw invalid(`are more than ${MAX_FILES}`)
  const depth = ({ path }: Placed): number => path.split('/').length
  const [main] = files
    .filter(({ path }) => path === SKILL_FILE || path.endsWith(`/${SKILL_FILE}`))
    .toSorted((a, b) => depth(a) - depth(b))
  if (main === undefined) throw invalid(`none is a ${SKILL_FILE} at the top of the skill’s folder`)
  const top = main.path.slice(0, -SKILL_FILE.length)
  const outside = files.find(({ path }) => !path.startsWith(top))
  if (outside !== undefined)
    throw invalid(`${shown(outside.path)} is not in ${shown(top)}; all files of a skill are in one folder`)
  const inside = files.map((file) => ({ ...file, path: file.path.slice(top.length) }))
  refuseTwins(inside)
  return { folder: top.split('/').at(-2), files: inside }
}

/** No file is there twice, and none is a folder of another one. */
function refuseTwins(files: readonly Placed[]): void {
  const paths = new Set<string>()
  for (const { path } of files) {
    if (paths.has(path)) throw invalid(`${shown(path)} is there twice`)
    paths.add(path)
  }
  for (const path of paths) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1))
      if (paths.has(path.slice(0, end))) throw invalid(`${shown(path.slice(0, end))} is a file and a folder`)
  }
}
