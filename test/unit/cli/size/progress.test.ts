import { expect, test } from 'vitest'
import { Progress } from '../../../../src/cli/size/progress.ts'

function shown(isTTY: boolean): string {
  let text = ''
  const progress = new Progress({
    isTTY,
    write: (more: string | Uint8Array) => {
      text += String(more)
      return true
    },
  })
  progress.clear()
  progress.say('one')
  progress.say('two')
  progress.clear()
  progress.clear()
  return text
}

test('Progress is one line that changes on a terminal, and disappears', () => {
  expect(shown(true)).toBe('\r\u001b[Kone …\r\u001b[Ktwo …\r\u001b[K')
})

test('Progress is a line each time where there is no terminal', () => {
  expect(shown(false)).toBe('one\ntwo\n')
})
