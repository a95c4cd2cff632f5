import { existsSync, readFileSync } from 'node:fs'
import { constants, getPriority } from 'node:os'
import { expect, test } from 'vitest'
import { MODEL, openSite, say, workerOf } from '../fixtures/real-pool.ts'

const GROUP = '/proc/self/autogroup'

// The first session of a machine has no group of its own: its file is empty.
const nicenessIn = (file: string): number => Number(/ nice (-?\d+)/.exec(readFileSync(file, 'latin1'))?.[1] ?? 0)

test.skipIf(process.platform !== 'linux')(
  'Where cores or memory are short, the host goes before its workers and what they start',
  async () => {
    const site = await openSite()
    const pool = await site.pool({ agents: { a: { model: MODEL, allowedTools: ['Bash'] } } })
    const session = await pool.session('one', { agent: 'a' })
    const { text } = await say(session, '@sim bash cat /proc/self/oom_score_adj; nice')
    const { pid } = workerOf(pool, 'one')
    const nicer = (own: number): number => Math.min(own + 5, constants.priority.PRIORITY_LOW)
    expect(getPriority(pid)).toBe(nicer(getPriority()))
    expect(text.match(/-?\d+/g)?.slice(-2)).toEqual(['500', String(nicer(getPriority()))])
    // Without root, the kernel takes only ten of these a second.
    if (process.getuid?.() === 0 && existsSync(GROUP))
      expect(nicenessIn(`/proc/${pid}/autogroup`)).toBe(nicer(nicenessIn(GROUP)))
  },
)
