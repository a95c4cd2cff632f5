import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import type { ContentBlock } from './content-block.ts'
import type { Answer } from './questions.ts'

/** The answer of a client that has executed a tool: an error unless `ok`. */
export const toolAnswer = (content: readonly ContentBlock[], ok: boolean): Answer => ({
  allow: ok,
  content: { content },
})

/** The same as MCP has it. */
export function toolResult({ allow, content, message }: Answer): CallToolResult {
  const blocks = (content?.['content'] ?? []) as ContentBlock[]
  if (content === undefined) {
    const text = message ?? 'The client gave no result.'
    return { content: [{ type: 'text', text }], isError: true }
  }
  return { content: blocks.map(toMcp), isError: !allow }
}

/** MCP has no documents by value, nor images by address: these go as what they say. */
function toMcp(block: ContentBlock): CallToolResult['content'][number] {
  if (block.type === 'text') return { type: 'text', text: block.text }
  const { source } = block
  if (block.type === 'image' && source.type === 'base64')
    return { type: 'image', data: source.data, mimeType: source.media_type }
  if (source.type === 'text') return { type: 'text', text: source.data }
  return { type: 'text', text: source.type === 'url' ? source.url : JSON.stringify(block) }
}
