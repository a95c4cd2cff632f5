import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { StartupOutput } from '../../../src/driver/startup-output.ts'

/** What is read of a process that says these pieces. */
function outputOf(...pieces: string[]): StartupOutput {
  const source = new PassThrough()
  const output = new StartupOutput(source)
  for (const piece of pieces) source.emit('data', Buffer.from(piece))
  return output
}

const refusal = JSON.stringify({
  type: 'result',
  startup_failure_reason: 'sideload_flags_disabled',
  errors: ['--agents is disabled', 'ask'],
})

test('The reason and the words of a refusal are found, wherever the output is cut', () => {
  const expected = { reason: 'sideload_flags_disabled', message: '--agents is disabled; ask' }
  const said = `{"type":"system"}\n${refusal}\n`
  for (let cut = 0; cut <= said.length; cut += 1)
    expect(outputOf(said.slice(0, cut), said.slice(cut)).refusal).toEqual(expected)
})

test.each([
  ['nothing', []],
  ['no JSON', ['"result"\n']],
  ['a line that is cut off', [refusal.slice(0, -3)]],
  ['another message', ['{"type":"system","text":"\\"result\\"","errors":["x"]}\n']],
  ['a result without errors', ['{"type":"result","subtype":"success"}\n']],
])('%s is no refusal', (_, pieces) => {
  expect(outputOf(...pieces).refusal).toBeUndefined()
})

test('A conversation that cannot be resumed is told of without a reason', () => {
  const line = '{"type":"result","is_error":true,"errors":["No message found with message.uuid of: x"]}\n'
  expect(outputOf(line).refusal).toEqual({
    reason: undefined,
    message: 'No message found with message.uuid of: x',
  })
})

test('Nothing is kept of a process that is ready, and no more than a part of one that floods', () => {
  const source = new PassThrough()
  const output = new StartupOutput(source)
  source.emit('data', Buffer.from(`${refusal}\n`))
  source.emit('data', Buffer.alloc(10 * 2 ** 20, 'x'))
  expect(output.refusal).toBeDefined()
  output.forget()
  expect([output.refusal, source.listenerCount('data')]).toEqual([undefined, 0])
})
