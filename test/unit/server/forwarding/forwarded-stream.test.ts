import { describe, expect, test } from 'vitest'
import { ForwardedStream } from '../../../../src/server/forwarding/forwarded-stream.ts'
import type { Upstream } from '../../../../src/server/forwarding/forwarded-stream.ts'

const frame = (id: number): string => `event: message\nid: ${id}\ndata: "${id}"\n\n`
const BREAK = 'event: error\ndata: moved\n\n'

/** A stream that comes in these pieces, then ends, or breaks. */
function upstream(pieces: readonly string[], end: 'ends' | 'breaks' = 'ends'): Upstream {
  async function* chunks(): AsyncGenerator<Uint8Array, undefined> {
    for (const piece of pieces) yield Buffer.from(piece)
    if (end === 'breaks') throw new Error('the connection was reset')
  }
  return { chunks: chunks(), destroy: () => undefined }
}

/** What a client reads, and behind which ids the stream was opened again. */
async function read(first: Upstream, next: readonly (Upstream | undefined)[] = []) {
  const open = next.values()
  const reopened: string[] = []
  const stream = new ForwardedStream({
    first,
    position: undefined,
    reopen: async (id) => {
      reopened.push(id)
      return open.next().value
    },
    isBreak: (text) => text === BREAK,
    lastFrame: (error) => Buffer.from(`last: ${(error as Error).message}`),
  })
  let text = ''
  for (;;) {
    const { done, value } = await stream.next()
    if (done === true) return { text, reopened }
    text += Buffer.from(value).toString()
  }
}

describe('A stream of another host', () => {
  test('is passed on as it comes, in whole frames', async () => {
    const whole = frame(1) + frame(2)
    expect(await read(upstream([whole.slice(0, 9), whole.slice(9, 40), whole.slice(40)]))).toEqual({
      text: whole,
      reopened: [],
    })
  })

  test('goes on at the next host behind the last frame that was shown', async () => {
    const broken = upstream([frame(1), frame(2).slice(0, 5)], 'breaks')
    expect(await read(broken, [upstream([frame(2)])])).toEqual({ text: frame(1) + frame(2), reopened: ['1'] })
    const cut = upstream([frame(1), frame(2).slice(0, 5)])
    expect(await read(cut, [upstream([frame(2)])])).toEqual({ text: frame(1) + frame(2), reopened: ['1'] })
  })

  test.each([
    ['alone', [frame(1), BREAK]],
    ['behind other frames', [frame(1) + BREAK]],
    ['in pieces', [frame(1) + BREAK.slice(0, 7), BREAK.slice(7)]],
  ])('goes on when its host breaks it off, which its reader does not see: %s', async (_how, pieces) => {
    expect(await read(upstream(pieces), [upstream([frame(2)])])).toEqual({
      text: frame(1) + frame(2),
      reopened: ['1'],
    })
  })

  test('ends when there is nothing more to be had', async () => {
    expect(await read(upstream([frame(1)], 'breaks'), [undefined])).toEqual({ text: frame(1), reopened: ['1'] })
  })

  test('ends with the reason if it cannot go on', async () => {
    const { text, reopened } = await read(upstream([], 'breaks'))
    expect(text).toContain('last: the host of this session is gone')
    expect(reopened).toEqual([])
  })

  test('is given up when it breaks again and again without a frame', async () => {
    const next = Array.from({ length: 30 }, () => upstream([], 'breaks'))
    const { text, reopened } = await read(upstream([frame(1)], 'breaks'), next)
    expect(text).toContain('last: ')
    expect(reopened).toHaveLength(20)
  })
})
