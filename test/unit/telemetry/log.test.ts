import { EventEmitter } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { Pool } from '../../../src/index.ts'
import { logPool } from '../../../src/telemetry/log.ts'

/** The lines that a pool leaves which tells this. */
function linesOf(event: string, told: object): [level: string, message: string, facts: object][] {
  const lines: [string, string, object][] = []
  const line = (level: string) => (message: string, facts: object) => void lines.push([level, message, facts])
  const pool = new EventEmitter()
  logPool(pool as unknown as Pool, {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  })
  pool.emit(event, told)
  return lines
}

const WORKER = { id: 'w-1', agent: 'a' }

describe('A line is as grave as what it tells:', () => {
  const closed = (reason: string, left: number): object => ({
    worker: WORKER,
    reason,
    exit: { cause: 'ended' },
    termination: { stage: 'eof', left },
  })

  test.each([
    ['worker.closed', closed('idle', 0), 'info', 'worker closed: idle (ended, eof)'],
    ['worker.closed', closed('idle', 1), 'warn', 'worker closed: idle (ended, eof)'],
    ['mcp.failed', { worker: WORKER, server: 's', status: 'failed' }, 'warn', 'MCP server "s" failed'],
    ['mcp.failed', { worker: WORKER, server: 's', status: 'x' }, 'warn', 'MCP server "s" needs to be signed in to'],
    ['memory.pressure', { level: 'none', from: 'high', memory: {} }, 'info', 'memory pressure: none, after high'],
    ['memory.pressure', { level: 'high', from: 'none', memory: {} }, 'warn', 'memory pressure: high, after none'],
    ['store.health', { trouble: undefined, from: 'x' }, 'info', 'the store works again'],
    ['store.health', { trouble: 'disk_full', from: undefined }, 'error', 'the store fails: disk_full'],
    ['egress', { place: 'a:1', refused: 0 }, 'info', 'egress to a:1'],
    ['egress', { place: 'a:1', refused: 1 }, 'warn', 'egress to a:1'],
    ['egress', { place: 'a:1', refused: 2, problem: 'not listed' }, 'warn', 'egress to a:1: not listed'],
    ['budget.reached', { message: 'no more', worker: 'w-1' }, 'warn', 'no more'],
  ])('%s of %j', (event, told, level, message) => {
    expect(linesOf(event, told)).toEqual([[level, message, expect.any(Object)]])
  })
})
