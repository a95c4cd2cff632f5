import type { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { ApiError } from '../../errors.ts'
import { formatSize } from '../../../units.ts'
import type { FileContents } from '../files/file-contents.ts'
import type { FormPart } from './skill-form.ts'
import { LONGEST_TEXT, readSkillText } from './skill-text.ts'
import type { SkillText } from './skill-text.ts'
import { MAX_FILES, SKILL_FILE, skillPath, skillTree } from './skill-tree.ts'
import { isZip, unzipped, zipEntries } from './zip-reader.ts'
import type { ZipSource } from './zip-reader.ts'

/** Bytes of the files of one version, packed or not. */
export const MAX_SKILL_BYTES: number = 30 * 2 ** 20

/** A file of a version, and where it is in the content. */
export interface SkillFile {
  path: string
  size: number
  crc: number
  start: number
}

/** Where a content lists its files. */
interface Index {
  start: number
  bytes: number
}

/** What came in with an upload. */
export interface KeptSkill {
  text: SkillText
  /** The folder of its files. */
  folder: string | undefined
  index: Index
}

const tooLarge = (): ApiError =>
  new ApiError('request_too_large', `the files of a skill have at most ${formatSize(MAX_SKILL_BYTES)} together`)

const ZIP = '.zip'

/** The contents of versions of skills: the files of each one behind the other, and then the list of them. */
export class SkillContents {
  readonly #contents: FileContents

  constructor(contents: FileContents) {
    this.#contents = contents
  }

  /** Takes files, or one zip archive of them. Nothing is left of what is refused. Throws ApiError. */
  async write(tenant: string, id: string, parts: AsyncIterable<FormPart>): Promise<KeptSkill> {
    const coming = parts[Symbol.asyncIterator]()
    const first = await coming.next()
    if (first.done === true) throw new ApiError('invalid_request_error', 'files: is missing')
    const { head, whole } = await peeked(first.value.pieces)
    const others = { [Symbol.asyncIterator]: () => coming }
    if (!isZip(head)) return this.#keep(tenant, id, following({ path: first.value.path, pieces: whole }, others))
    const archive = id + ZIP
    try {
      const size = await this.#contents.write(tenant, archive, whole, bounded())
      if ((await coming.next()).done !== true)
        throw new ApiError('invalid_request_error', 'files: a zip archive comes alone')
      return await this.#keep(
        tenant,
        id,
        this.#unpacked({ size, read: (...part) => this.#part(tenant, archive, part) }),
      )
    } finally {
      await this.#contents.remove(tenant, archive)
    }
  }

  async #keep(tenant: string, id: string, parts: AsyncIterable<FormPart>): Promise<KeptSkill> {
    const joined = new Joined(parts)
    await this.#contents.write(tenant, id, joined.pieces(), () => undefined)
    return joined.kept()
  }

  async *#unpacked(source: ZipSource): AsyncGenerator<FormPart> {
    for (const entry of await zipEntries(source, MAX_FILES)) yield { path: entry.path, pieces: unzipped(source, entry) }
  }

  /** The files of a version; undefined if this host does not have them. */
  async files(tenant: string, id: string, { start, bytes }: Index): Promise<SkillFile[] | undefined> {
    const found = await this.#contents.read(tenant, id, { start, bytes })
    if (found === undefined) return undefined
    return JSON.parse((await collected(found.stream)).toString('utf8')) as SkillFile[]
  }

  async *read(tenant: string, id: string, { start, size }: SkillFile): AsyncGenerator<Buffer> {
    if (size > 0) yield* await this.#part(tenant, id, [start, size])
  }

  async #part(tenant: string, id: string, [start, bytes]: [number, number]): Promise<Readable> {
    const found = await this.#contents.read(tenant, id, { start, bytes })
    if (found === undefined) throw new ApiError('not_found_error', 'the content of a skill was removed meanwhile')
    return found.stream
  }

  remove(tenant: string, id: string): Promise<void> {
    return this.#contents.remove(tenant, id)
  }

  sweep(...words: Parameters<FileContents['sweep']>): Promise<void> {
    return this.#contents.sweep(...words)
  }
}

function bounded(): (bytes: number) => void {
  let sum = 0
  return (bytes) => {
    sum += bytes
    if (sum > MAX_SKILL_BYTES) throw tooLarge()
  }
}

async function* following(first: FormPart, others: AsyncIterable<FormPart>): AsyncGenerator<FormPart> {
  yield first
  yield* others
}

/** The first bytes, and all of it. */
async function peeked(pieces: AsyncIterable<Buffer>): Promise<{ head: Buffer; whole: AsyncGenerator<Buffer> }> {
  const coming = pieces[Symbol.asyncIterator]()
  let head = Buffer.alloc(0)
  while (head.length < 4) {
    const next = await coming.next()
    if (next.done === true) break
    head = Buffer.concat([head, next.value])
  }
  const whole = async function* (): AsyncGenerator<Buffer> {
    if (head.length > 0) yield head
    yield* { [Symbol.asyncIterator]: () => coming }
  }
  return { head, whole: whole() }
}

export async function collected(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

/** Makes one content of files, and learns what they are. */
class Joined {
  readonly #parts: AsyncIterable<FormPart>
  readonly #admit = bounded()
  readonly #files: SkillFile[] = []
  #main: { depth: number; data: Buffer | undefined } | undefined
  #kept: KeptSkill | undefined

  constructor(parts: AsyncIterable<FormPart>) {
    this.#parts = parts
  }

  /** What `pieces()` has come to. */
  kept(): KeptSkill {
    if (this.#kept === undefined) throw new Error('the files were not read to their end')
    return this.#kept
  }

  async *pieces(): AsyncGenerator<Buffer> {
    let at = 0
    for await (const { path: given, pieces } of this.#parts) {
      const path = skillPath(given)
      if (path !== undefined && this.#files.length >= MAX_FILES)
        throw new ApiError('invalid_request_error', `files: are more than ${MAX_FILES}`)
      const file = { path: path ?? '', size: 0, crc: 0, start: at }
      const text = path === undefined ? undefined : this.#textOf(path)
      for await (const piece of pieces) {
        this.#admit(piece.length)
        if (path === undefined) continue
        file.crc = crc32(piece, file.crc)
        file.size += piece.length
        text?.push(piece, file.size)
        yield piece
      }
      if (path === undefined) continue
      at += file.size
      this.#files.push(file)
      text?.end()
    }
    const { folder, files } = skillTree(this.#files)
    const data = this.#main?.data
    if (data === undefined)
      throw new ApiError('invalid_request_error', `SKILL.md: has more than ${formatSize(LONGEST_TEXT)}`)
    const index = Buffer.from(JSON.stringify(files))
    this.#kept = { text: readSkillText(data), folder, index: { start: at, bytes: index.length } }
    yield index
  }

  /** Collects a SKILL.md that no other one is above. */
  #textOf(path: string): { push: (piece: Buffer, size: number) => void; end: () => void } | undefined {
    const parts = path.split('/')
    const depth = parts.length
    if (parts.at(-1) !== SKILL_FILE || (this.#main !== undefined && this.#main.depth <= depth)) return undefined
    const pieces: Buffer[] = []
    let isWhole = true
    return {
      push(piece, size) {
        isWhole = size <= LONGEST_TEXT
        if (isWhole) pieces.push(piece)
        else pieces.length = 0
      },
      end: () => void (this.#main = { depth, data: isWhole ? Buffer.concat(pieces) : undefined }),
    }
  }
}
