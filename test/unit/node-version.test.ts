import { expect, test } from 'vitest'
import { checkNode } from '../../src/node-version.ts'

test.each([
  { node: '22.18.0' },
  { node: '22.18.0-nightly' },
  { node: '24.9.0' },
  { node: '100.0.0' },
  { node: '20.11.1', deno: '2.1.0' },
  { node: '22.6.0', bun: '1.2.0' },
])('%j will do', (versions) => {
  expect(() => checkNode(versions)).not.toThrow()
})

test.each(['20.20.2', '22.17.9', '18.0.0', '0.10.0'])(
  'Node %s is refused in one line that says what is needed',
  (node) => {
    expect(() => checkNode({ node })).toThrow(
      expect.objectContaining({
        code: 'unsupported_node',
        message: `Node 22.18.0 or later is needed for claude-agent-pool, and this is ${node}; install it from https://nodejs.org`,
        stack: expect.not.stringContaining('\n'),
      }) as Error,
    )
  },
)
