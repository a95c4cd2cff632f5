import { rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { agents, asked, openSite, say } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

test.runIf(WHOLE)(
  'An agent that has removed its workspace works on in a new one, live and resumed, and is told',
  async () => {
    const site = await openSite()
    const pool = await site.pool({ agents: agents({ allowedTools: ['Bash'] }) })
    const session = await pool.session('one', { agent: 'a' })
    await say(session, '@sim bash echo before > note; rm -rf "$PWD"')
    const { cwd } = await session.info()
    const live = await say(session, 'second\n@sim bash pwd; ls -A; echo again > note')
    expect(live).toEqual({ text: `[turn 2] You said: second\ntool said: ${cwd}`, warmth: 'live' })
    expect((await say(session, '@sim bash cat note')).text).toBe('[turn 3] tool said: again')
    await session.hibernate()
    await rm(cwd ?? '', { recursive: true })
    const resumed = await say(session, 'fourth\n@sim bash pwd; ls -A')
    expect(resumed).toEqual({ text: `[turn 4] You said: fourth\ntool said: ${cwd}`, warmth: 'resumed' })
    for (const words of ['second', 'fourth']) {
      const texts = asked(site, words).map(({ body }) => JSON.stringify(body))
      expect(texts.at(-1)).toContain(`The working directory ${cwd} was gone and has been made again.`)
    }
  },
)
