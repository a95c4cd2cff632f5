import { afterEach, describe, expect, test, vi } from 'vitest'
import { CapacityError, PoolClosedError, StartError } from '../../../src/errors.ts'
import { retryAfter, toApiError } from '../../../src/server/errors.ts'

afterEach(() => void vi.restoreAllMocks())

describe('when to come back', () => {
  test.each([
    [0, '2000', '2'],
    [0.999999, '3000', '3'],
    [0.5, '2500', '3'],
  ])('is at the earliest what was computed, at most half as long again (random %d)', (random, ms, seconds) => {
    vi.spyOn(Math, 'random').mockReturnValue(random)
    expect(retryAfter(2_000)).toEqual({ 'retry-after-ms': ms, 'retry-after': seconds })
  })

  test('differs between callers that are refused for the same reason', () => {
    const refusal = new CapacityError('turns', 'full', 60_000, { running: 1, limit: 1, waiting: 0 })
    const told = Array.from({ length: 20 }, () => toApiError(refusal).headers['retry-after-ms'])
    expect(new Set(told).size).toBeGreaterThan(1)
    expect(refusal.retryAfterMs).toBe(60_000)
  })
})

describe('what the pool says to programs is said to clients in their words', () => {
  test('a closed pool takes nothing new: another server may', () => {
    const { status, message, headers } = toApiError(new PoolClosedError())
    expect([status, headers]).toEqual([529, {}])
    expect(message).toContain('try again at another server')
    expect(message).not.toContain('createPool')
  })

  test('a turn that was cut is not tried again by itself', () => {
    const cut = new PoolClosedError('the pool was closed during the turn', { duringTurn: true })
    expect(toApiError(cut)).toMatchObject({
      status: 529,
      message: 'the pool was closed during the turn',
      headers: { 'x-should-retry': 'false' },
    })
  })

  test('a suspended pool takes no turns for now', () => {
    const suspended = new CapacityError('suspended', 'call pool.resume()', 1_000, { running: 0, limit: 1, waiting: 0 })
    expect(toApiError(suspended).message).toBe('the server takes no turns for now; try again later')
  })
})

test('an agent that its sandbox keeps from running is no failure of the server, and the client learns which MCP server it is', () => {
  const hidden = new StartError(
    'isolation',
    'the MCP server "shop" needs /srv/shop.js, which sandboxed processes do not see',
  )
  const said = toApiError(hidden)
  expect([said.status, said.type, said.headers]).toEqual([400, 'invalid_request_error', { 'x-should-retry': 'false' }])
  expect(said.message).toContain('the MCP server "shop" of this agent cannot run in the sandbox')
  expect(said.message).not.toContain('/srv')
  expect(toApiError(new StartError('spawn', 'no claude')).status).toBe(500)
})
