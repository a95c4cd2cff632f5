import { expect, test } from 'vitest'
import type { ContentBlock } from '../../../src/server/content-block.ts'
import { toolAnswer, toolResult } from '../../../src/server/tool-result.ts'

const BLOCKS: [ContentBlock, unknown][] = [
  [
    { type: 'text', text: 'hi' },
    { type: 'text', text: 'hi' },
  ],
  [
    { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AA==' } },
    { type: 'image', data: 'AA==', mimeType: 'image/png' },
  ],
  [
    { type: 'image', source: { type: 'url', url: 'https://shop.example/a.png' } },
    { type: 'text', text: 'https://shop.example/a.png' },
  ],
  [
    { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'words' } },
    { type: 'text', text: 'words' },
  ],
] as [ContentBlock, unknown][]

test.each(BLOCKS)('MCP gets %j as %j', (block, expected) => {
  expect(toolResult(toolAnswer([block], true))).toEqual({ content: [expected], isError: false })
})

test('A document by value goes as JSON', () => {
  const source = { type: 'base64', media_type: 'application/pdf', data: 'AA==' }
  const block = { type: 'document', source } as ContentBlock
  expect(toolResult(toolAnswer([block], true)).content).toEqual([{ type: 'text', text: JSON.stringify(block) }])
})

test('An answer that is not ok is an error, and so is none', () => {
  expect(toolResult(toolAnswer([], false))).toEqual({ content: [], isError: true })
  expect(toolResult({ allow: true })).toEqual({
    content: [{ type: 'text', text: 'The client gave no result.' }],
    isError: true,
  })
  expect(toolResult({ allow: false, message: 'gone' }).content).toEqual([{ type: 'text', text: 'gone' }])
})
