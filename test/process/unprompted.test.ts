import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { SessionEvent } from '../../src/index.ts'
import { agents, openSite, say } from '../fixtures/real-pool.ts'

/** A prompt that leaves a command in the background, which ends when the file is there. */
const background = (file: string): string => {
  const wait = `const t = setInterval(() => { if (require("fs").existsSync("${file}")) clearInterval(t) }, 50)`
  return `@sim tool Bash ${JSON.stringify({ command: `'${process.execPath}' -e '${wait}'`, description: 'wait', run_in_background: true })}`
}

test('What an agent says when its work in the background has ended is in the events, with its own status pair, and known to the next turn', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ allowedTools: ['Bash'] }) })
  const session = await pool.session('one', { agent: 'a' })
  const file = join(site.root, 'enough')
  await say(session, background(file))
  const before = await session.history({ limit: 1_000 })
  expect(before.at(-1)?.event.type).toBe('session.status_idle')
  await writeFile(file, '')
  const seen: SessionEvent[] = []
  for await (const { event, number } of session.events({ after: before.at(-1)?.number ?? 0 })) {
    if (number !== undefined) seen.push(event as SessionEvent)
    if (event.type === 'session.status_idle') break
  }
  const types = seen.map(({ type }) => type).filter((type) => !type.startsWith('span.'))
  expect(types).toEqual(['session.status_running', 'agent.message', 'session.status_idle'])
  expect(seen.find(({ type }) => type === 'agent.message')).toMatchObject({
    content: [{ text: expect.stringContaining('noticed') }],
  })
  expect((await say(session, 'next')).text).toBe('[turn 2] You said: next')
  await session.hibernate()
  expect((await say(session, 'after')).text).toBe('[turn 3] You said: after')
})
