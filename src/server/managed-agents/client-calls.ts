import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import type { Answer, Questions } from '../questions.ts'
import type { ClientCalls } from './agent-options.ts'
import type { ContentBlock } from './session-schema.ts'

/** What agents ask of their clients waits with all other questions. */
export const clientCalls = (questions: Questions): ClientCalls => ({
  confirm: questions.canUseTool,
  async execute({ toolUseId, name, input }, session, signal) {
    return toolResult(await questions.callTool(session, signal, { id: toolUseId, name, input }))
  },
})

function toolResult({ allow, content, message }: Answer): CallToolResult {
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
