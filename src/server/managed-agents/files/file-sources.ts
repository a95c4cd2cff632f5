import type { ContentBlock, FileSource, SentBlock } from '../../content-block.ts'
import { ApiError } from '../../errors.ts'
import { formatSize } from '../../../units.ts'
import type { Files } from './files.ts'
import type { WireFile } from './wire-file.ts'

/** Bytes of all files of one message: as base64 they must fit into one request to the model, which has 32 MB at most. */
const MOST_BYTES = 20 * 2 ** 20

const IMAGES: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp'])

const TEXTS: ReadonlySet<string> = new Set(['application/json', 'application/xml', 'application/yaml'])

const fileOf = (block: SentBlock): FileSource | undefined =>
  block.type !== 'text' && block.source.type === 'file' ? block.source : undefined

const invalid = (message: string): ApiError => new ApiError('invalid_request_error', message)

/** Puts the contents of files in the place of their ids. */
export class FileSources {
  readonly #files: Pick<Files, 'content'>

  constructor(files: Pick<Files, 'content'>) {
    this.#files = files
  }

  /** What the agent gets: the same list if it names no file. Throws ApiError. */
  async resolve(tenant: string, content: readonly SentBlock[]): Promise<readonly ContentBlock[]> {
    if (!content.some((block) => fileOf(block) !== undefined)) return content as readonly ContentBlock[]
    const resolved: ContentBlock[] = []
    let left = MOST_BYTES
    for (const block of content) {
      const source = fileOf(block)
      if (source === undefined) {
        resolved.push(block as ContentBlock)
        continue
      }
      const { file, data } = await this.#read(tenant, source.file_id, left)
      left -= data.length
      resolved.push({ ...block, source: sourceOf(block, file, data) } as ContentBlock)
    }
    return resolved
  }

  async #read(tenant: string, id: string, most: number): Promise<{ file: WireFile; data: Buffer }> {
    const { file, stream } = await this.#files.content(tenant, id)
    const pieces: Buffer[] = []
    let bytes = 0
    try {
      for await (const piece of stream as AsyncIterable<Buffer>) {
        bytes += piece.length
        if (bytes > most) throw invalid(`content: the files of a message have at most ${formatSize(MOST_BYTES)}`)
        pieces.push(piece)
      }
    } finally {
      stream.destroy()
    }
    return { file, data: Buffer.concat(pieces) }
  }
}

function sourceOf({ type }: SentBlock, { id, mime_type: mime }: WireFile, data: Buffer): object {
  const base64 = { type: 'base64', data: data.toString('base64'), media_type: mime }
  if (data.length === 0) throw invalid(`source: file ${id} is empty`)
  if (type === 'image') {
    if (IMAGES.has(mime)) return base64
    throw invalid(`source: file ${id} is ${mime}; an image is one of ${[...IMAGES].join(', ')}`)
  }
  if (mime === 'application/pdf') return base64
  if (mime.startsWith('text/') || TEXTS.has(mime)) {
    try {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(data)
      return { type: 'text', data: text, media_type: 'text/plain' }
    } catch (cause) {
      throw new ApiError('invalid_request_error', `source: file ${id} is no text in UTF-8`, { cause })
    }
  }
  throw invalid(
    `source: file ${id} is ${mime}; a document is application/pdf or text. Put other files into the resources of the session`,
  )
}
