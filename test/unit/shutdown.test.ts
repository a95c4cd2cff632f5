import { expect, onTestFinished, test, vi } from 'vitest'
import type { Pool } from '../../src/index.ts'
import { shutDownWithProcess } from '../../src/shutdown.ts'
import type { ShutdownOptions } from '../../src/shutdown.ts'

const EVENTS = ['SIGINT', 'SIGTERM', 'uncaughtException', 'unhandledRejection'] as const

type Listener = (what: unknown) => void

const listeners = (event: (typeof EVENTS)[number]): Listener[] => process.listeners(event as 'SIGTERM') as Listener[]

/** A host with a pool whose drain ends by `drained`, or when it is cut; `happens` is what comes to the process. */
function host(options: ShutdownOptions = { graceMs: 60_000 }) {
  const before = new Map(EVENTS.map((event) => [event, listeners(event)]))
  const drained = Promise.withResolvers<void>()
  const cuts: boolean[] = []
  let drains = 0
  const pool = {
    drain: ({ cut }: { cut: AbortSignal }) => {
      drains += 1
      cut.addEventListener('abort', () => {
        cuts.push(true)
        drained.resolve()
      })
      if (cut.aborted) drained.resolve()
      return drained.promise
    },
  } as unknown as Pool
  const exit = Promise.withResolvers<number>()
  const exits = vi.spyOn(process, 'exit').mockImplementation((code) => exit.resolve(Number(code)) as never)
  const errors = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  const remove = shutDownWithProcess(pool, options)
  onTestFinished(() => {
    remove()
    vi.restoreAllMocks()
  })
  const happens = (event: (typeof EVENTS)[number], what: unknown): void => {
    for (const listener of listeners(event)) if (before.get(event)?.includes(listener) !== true) listener(what)
  }
  const told = (): unknown[] => errors.mock.calls.map(([error]) => error)
  return { happens, drained, cuts, remove, told, exits, exit: exit.promise, drains: () => drains }
}

test('A signal drains the pool, and the process exits with 0', async () => {
  const { happens, drained, exit, exits, cuts, told } = host()
  happens('SIGTERM', 'SIGTERM')
  expect(exits).not.toHaveBeenCalled()
  drained.resolve()
  expect([await exit, cuts, told()]).toEqual([0, [], []])
})

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('A second signal cuts the grace, and the process exits as if %s had ended it', async (signal, code) => {
  const { happens, exit, cuts, drains } = host()
  happens('SIGTERM', 'SIGTERM')
  happens(signal, signal)
  expect([await exit, cuts, drains()]).toEqual([code, [true], 1])
})

test('The grace cuts the turns that run, and the process exits with 0', async () => {
  const { happens, exit, cuts } = host({ graceMs: 1 })
  happens('SIGINT', 'SIGINT')
  expect([await exit, cuts]).toEqual([0, [true]])
})

test.each(['uncaughtException', 'unhandledRejection'] as const)(
  'After %s nothing gets a grace, the error is told, and the process exits with 1',
  async (event) => {
    const { happens, exit, told, drains } = host()
    const error = new Error('bug')
    happens(event, error)
    expect([await exit, told(), drains()]).toEqual([1, [error], 1])
  },
)

test('An error while it drains cuts the grace', async () => {
  const { happens, exit, cuts, drains } = host()
  happens('SIGTERM', 'SIGTERM')
  happens('uncaughtException', new Error('bug'))
  expect([await exit, cuts, drains()]).toEqual([1, [true], 1])
})

test('A drain that fails is told, and the process exits with 1', async () => {
  const { happens, drained, exit, told } = host()
  happens('SIGTERM', 'SIGTERM')
  const error = new Error('disk')
  drained.reject(error)
  expect([await exit, told()]).toEqual([1, [error]])
})

test('Its handlers can be removed', () => {
  const before = EVENTS.map((event) => listeners(event).length)
  const { remove } = host()
  expect(EVENTS.map((event) => listeners(event).length)).toEqual(before.map((count) => count + 1))
  remove()
  expect(EVENTS.map((event) => listeners(event).length)).toEqual(before)
})

test.each([
  [{ graceMs: 0 }, 'graceMs'],
  [{ graceMs: -1 }, 'graceMs'],
  [{ graceMs: Infinity }, 'graceMs'],
  [{ grace: '1s', graceMs: 1 }, 'is given twice'],
  [{ grace: 'soon' }, 'grace'],
  [{ gracePeriod: '1s' }, 'gracePeriod'],
] as const)('%j is refused', (options, says) => {
  expect(() => shutDownWithProcess({} as Pool, options as ShutdownOptions)).toThrow(says)
})
