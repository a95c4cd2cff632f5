import { createHash } from 'node:crypto'
import type { ContentPart } from '@ag-ui/core'
import type { EventContent, MessageContent } from '../../index.ts'
import { ApiError } from '../errors.ts'
import type { ContentBlock } from '../content-block.ts'

type Block = MessageContent[number]

const IMAGE_TYPES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'] as const

const PDF = 'application/pdf'

/** Base64 of `%PDF-`, without its last character, which holds bits of what follows. */
const PDF_BEGINS = 'JVBERi'

/** What is text although its type does not begin with `text/`. */
const TEXT_TYPES = /^(text\/|application\/(json|xml|x-yaml|yaml|javascript|x-ndjson)$|[^/]+\/[^/]+\+(json|xml)$)/

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

const refuse = (problem: string): never => {
  throw new ApiError('invalid_request_error', `messages: ${problem}`)
}

/** The blocks of a user's message; none where there is nothing to see or read. Throws ApiError (invalid_request_error) for a part that no agent can read. */
export function blocksOf(content: string | readonly ContentPart[]): MessageContent {
  if (typeof content === 'string') return content.trim() === '' ? [] : [{ type: 'text', text: content }]
  return content.flatMap((part) => blockOf(part) ?? [])
}

/** The same for a message that the agent should have had before: what it cannot read is named instead. */
export const readableBlocks = (content: string | readonly ContentPart[]): MessageContent =>
  typeof content === 'string'
    ? blocksOf(content)
    : content.flatMap((part): MessageContent => {
        try {
          return [blockOf(part) ?? []].flat()
        } catch {
          return [{ type: 'text', text: `[${part.type}]` }]
        }
      })

function blockOf(part: ContentPart): Block | undefined {
  if (part.type === 'text') return part.text.trim() === '' ? undefined : { type: 'text', text: part.text }
  if (part.type !== 'image' && part.type !== 'document') return refuse(`a part of type "${part.type}" is not supported`)
  const { source } = part
  if (source.type === 'file') return refuse(`${part.type}: files by handle are not supported; send data or a url`)
  if (source.type === 'url') return { type: part.type, source: { type: 'url', url: webUrl(part.type, source.value) } }
  const mimeType = source.mimeType.split(';')[0]?.trim().toLowerCase() ?? ''
  return part.type === 'image' ? image(mimeType, source.value) : document(mimeType, source.value, titleOf(part))
}

function image(mimeType: string, value: string): Block {
  const mediaType = IMAGE_TYPES.find((type) => type === mimeType)
  if (mediaType === undefined) return refuse(`an image of type "${mimeType}" is not supported`)
  return { type: 'image', source: { type: 'base64', media_type: mediaType, data: base64('image', value) } }
}

function document(mimeType: string, value: string, title: { title?: string }): Block {
  const data = base64('document', value)
  if (mimeType === PDF) {
    if (!data.startsWith(PDF_BEGINS)) return refuse('document: its data is not a PDF')
    return { type: 'document', source: { type: 'base64', media_type: PDF, data }, ...title }
  }
  if (!TEXT_TYPES.test(mimeType)) return refuse(`a document of type "${mimeType}" is not supported; send PDF or text`)
  return { type: 'document', source: { type: 'text', media_type: 'text/plain', data: utf8(data) }, ...title }
}

function base64(what: string, value: string): string {
  const data = value.replaceAll(/[\r\n]/g, '')
  // The model's API refuses the whole conversation for it from then on.
  return data.length % 4 === 0 && BASE64.test(data) ? data : refuse(`${what}: its data is not base64`)
}

function utf8(data: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(data, 'base64'))
  } catch {
    return refuse('document: its text is not UTF-8')
  }
}

const webUrl = (what: string, url: string): string =>
  URL.canParse(url) && /^https?:$/.test(new URL(url).protocol) ? url : refuse(`${what}: its url is not an http(s) URL`)

/** The name that front ends keep with what a user attaches. */
function titleOf({ metadata }: ContentPart): { title?: string } {
  const name = (metadata as { filename?: unknown } | undefined)?.filename
  return typeof name === 'string' && name !== '' ? { title: name.slice(0, 200) } : {}
}

/** The blocks of a tool's result. What no agent can read is named. */
export function toolBlocks(content: string | readonly ContentPart[]): ContentBlock[] {
  const blocks = readableBlocks(content) as ContentBlock[]
  return blocks.length === 0 ? [{ type: 'text', text: '' }] : blocks
}

/** The parts of a user's message, as an event of the session has its blocks. */
export function partsOf(content: readonly EventContent[]): string | ContentPart[] {
  const [only, ...more] = content
  if (only?.type === 'text' && more.length === 0) return String(only['text'])
  return content.map((block): ContentPart => {
    if (block.type === 'text') return { type: 'text', text: String(block['text']) }
    const type = block.type === 'image' ? 'image' : 'document'
    const title = block['title']
    return { type, source: sourceOf(block), ...(typeof title === 'string' ? { metadata: { filename: title } } : {}) }
  })
}

function sourceOf(
  block: EventContent,
): { type: 'data'; value: string; mimeType: string } | { type: 'url'; value: string } {
  const source = (block['source'] ?? {}) as { type?: string; data?: string; media_type?: string; url?: string }
  if (source.type === 'url') return { type: 'url', value: source.url ?? '' }
  const { data = '', media_type: mimeType = 'text/plain' } = source
  return { type: 'data', value: source.type === 'text' ? Buffer.from(data).toString('base64') : data, mimeType }
}

/** The same for two contents exactly if an agent sees no difference. */
export const digestOf = (blocks: readonly object[]): string =>
  createHash('sha256').update(JSON.stringify(blocks)).digest('base64')
