import { expect, test } from 'vitest'
import type { SDKUserMessage } from '../../../src/driver/driver.ts'
import { PromptInput } from '../../../src/driver/input.ts'

const prompt = (content: string): SDKUserMessage => ({
  type: 'user',
  message: { role: 'user', content },
  parent_tool_use_id: null,
})

const settled = async (promise: Promise<unknown>): Promise<boolean> => {
  const pending = Symbol('pending')
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending
}

test('prompts come out in the order they were sent, before and after somebody asks', async () => {
  const input = new PromptInput()
  const stream = input[Symbol.asyncIterator]()
  void input.send(prompt('a'))
  void input.send(prompt('b'))
  expect((await stream.next()).value).toEqual(prompt('a'))
  expect((await stream.next()).value).toEqual(prompt('b'))
  const third = stream.next()
  void input.send(prompt('c'))
  expect((await third).value).toEqual(prompt('c'))
})

test('a prompt is sent when the one after it is asked for', async () => {
  const input = new PromptInput()
  const stream = input[Symbol.asyncIterator]()
  const sent = input.send(prompt('a'))
  expect(await settled(sent)).toBe(false)
  await stream.next()
  expect(await settled(sent)).toBe(false)
  void stream.next()
  expect(await settled(sent)).toBe(true)
})

test('the end leaves nobody waiting: neither who sends nor who reads', async () => {
  const input = new PromptInput()
  const stream = input[Symbol.asyncIterator]()
  const handedOut = input.send(prompt('a'))
  await stream.next()
  const queued = input.send(prompt('b'))
  input.end()
  expect(await Promise.all([handedOut, queued, input.send(prompt('c'))])).toEqual([true, false, false])
  expect(await stream.next()).toEqual({ done: true, value: undefined })
})

test('the end wakes who waits for a prompt', async () => {
  const input = new PromptInput()
  const waiting = input[Symbol.asyncIterator]().next()
  input.end()
  expect(await waiting).toEqual({ done: true, value: undefined })
})
