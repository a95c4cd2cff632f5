/**
 * What the text around a TypeScript block says is there: a line that declares it, by name. A block that declares or imports the
 * name itself does not get the line.
 */
export const COMMON: Readonly<Record<string, string>> = {
  createPool: "import { createPool } from 'claude-agent-pool'",
  createSdkMcpServer: "import { createSdkMcpServer } from '@anthropic-ai/claude-agent-sdk'",
  tool: "import { tool } from '@anthropic-ai/claude-agent-sdk'",
  pool: "declare const pool: import('claude-agent-pool').Pool",
  session: "declare const session: import('claude-agent-pool').Session",
  options: "declare const options: import('claude-agent-pool').PoolOptions",
}

/** The same for single pages, in place of the line above. */
export const BY_PAGE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'docs/library.md': {
    lastSeen: 'declare const lastSeen: number',
    response: "declare const response: import('node:http').ServerResponse",
    render: 'declare function render(number: number | undefined, content: readonly { text: string }[]): void',
    findOrders:
      "declare function findOrders(key: string | undefined): Promise<{ content: { type: 'text'; text: string }[] }>",
    ask: [
      'declare function ask(session: import("claude-agent-pool").SessionRef | undefined, name: string, input: Record<string, unknown>):',
      '  Promise<import("@anthropic-ai/claude-agent-sdk").PermissionResult>',
    ].join('\n'),
  },
  'docs/coming-from-query.md': {
    confirm: 'declare function confirm(tool: string, user?: string): Promise<boolean>',
    scheduleRetry: 'declare function scheduleRetry(afterMs: number): void',
  },
  'docs/managed-agents.md': {
    client: "declare const client: import('@anthropic-ai/sdk').default",
    session: 'declare const session: { id: string }',
  },
}

/** Blocks that no test here checks, by page and first line, and what does or why nothing can. */
export const UNCHECKED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'docs/front-ends.md': {
    "import { useEffect, useState } from 'react'":
      'React has no types here; test/http/browser.test.ts runs it in a browser, as it is pasted',
  },
  'docs/memory.md': {
    'limit − in use − reserve − growth − admitted + reclaimable ≥ its need': 'it is a formula',
  },
}
