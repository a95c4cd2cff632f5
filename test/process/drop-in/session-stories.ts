import { randomUUID } from 'node:crypto'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { ending, nameIn } from './sides.ts'
import type { Story } from './story.ts'

const idOf = (messages: readonly SDKMessage[]): string | undefined => messages.at(-1)?.session_id

/** A session that is captured, forked, resumed and taken back. */
export const captured: Story<'next' | 'chosen' | 'forked' | 'resumed' | 'iterated' | 'instead' | 'dropped'> = {
  name: 'a session is captured, forked, resumed and taken back',
  tell: async (side) => {
    const sessionId = randomUUID()
    const query = side.query('one', { sessionId })
    const { messages, kinds, after } = await byHand(query)
    const taken = await ending(side.query('two', { sessionId }))
    const fork = await ending(side.query('fork', { resume: sessionId, forkSession: true }))
    const resumed = await ending(side.query('two', { resume: sessionId })[Symbol.asyncIterator]())
    const unknown = await ending(side.query('two', { resume: randomUUID() }))
    const resumeSessionAt = messages.find(({ type }) => type === 'assistant')?.uuid as string
    const back = { resume: sessionId, resumeSessionAt }
    const dropped = await ending(side.query('three', { ...back, resumeDropsTurn: randomUUID() }))
    const instead = await ending(side.query('instead', back))
    return {
      next: [kinds, after],
      chosen: [idOf(messages) === sessionId, /is already in use/.exec(taken.threw ?? '')?.[0]],
      forked: [fork.results, idOf(fork.messages) === sessionId],
      resumed: [resumed.results, idOf(resumed.messages) === sessionId, nameIn(unknown.threw)],
      iterated: [resumed.results, resumed.threw],
      instead: [instead.results, instead.threw],
      dropped: /Resume rejected by --resume-drops-turn/.exec(dropped.threw ?? '')?.[0],
    }
  },
}

/** Reads a query by `next()` alone. */
async function byHand(
  query: AsyncGenerator<SDKMessage, void>,
): Promise<{ messages: SDKMessage[]; kinds: string[]; after: unknown }> {
  const messages: SDKMessage[] = []
  for (;;) {
    const { value, done } = await query.next()
    if (done === true) return { messages, kinds: messages.map(({ type }) => type), after: await query.next() }
    messages.push(value)
  }
}

export const continued: Story<'newest'> = {
  name: 'the newest session of a directory goes on',
  tell: async (side) => {
    const first = await ending(side.query('one', { continue: true }))
    const second = await ending(side.query('two', { continue: true }))
    return { newest: [first.results, second.results, idOf(first.messages) === idOf(second.messages)] }
  },
}

export const notKept: Story<'gone'> = {
  name: 'a session is not to be kept',
  tell: async (side) => {
    const { results, messages } = await ending(side.query('one', { persistSession: false }))
    const { threw } = await ending(side.query('two', { resume: idOf(messages) ?? '' }))
    return { gone: [results, threw !== undefined] }
  },
}
