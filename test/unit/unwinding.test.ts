import { expect, test } from 'vitest'
import { Unwinding } from '../../src/unwinding.ts'

function recorder() {
  const closed: string[] = []
  const unwinding = new Unwinding()
  const open = (name: string): void => unwinding.defer(() => void closed.push(name))
  return { closed, unwinding, open }
}

test('What was opened is closed in reverse order, once', async () => {
  const { closed, unwinding, open } = recorder()
  open('a')
  const used = { [Symbol.asyncDispose]: async () => void closed.push('used') }
  expect(unwinding.use(used)).toBe(used)
  open('b')
  await unwinding[Symbol.asyncDispose]()
  await unwinding[Symbol.asyncDispose]()
  expect(closed).toEqual(['b', 'used', 'a'])
})

test('A close that fails keeps nothing else open, and its error is thrown', async () => {
  const { closed, unwinding, open } = recorder()
  open('a')
  unwinding.defer(() => {
    throw new Error('stuck')
  })
  open('b')
  await expect(unwinding[Symbol.asyncDispose]()).rejects.toThrow('stuck')
  expect(closed).toEqual(['b', 'a'])
})

test('What was handed over is closed by the new owner alone', async () => {
  const { closed, unwinding, open } = recorder()
  open('a')
  const next = unwinding.move()
  await unwinding[Symbol.asyncDispose]()
  expect(closed).toEqual([])
  await next[Symbol.asyncDispose]()
  expect(closed).toEqual(['a'])
})
