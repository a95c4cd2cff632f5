import { describe, expect, test } from 'vitest'
import { Membership } from '../../../src/cluster/membership.ts'
import type { MembershipListener } from '../../../src/cluster/membership.ts'
import type { Beat, HostDirectory, HostInfo } from '../../../src/store/store.ts'
import { FakeClock } from '../../../src/testing/index.ts'

const REPORT = { state: 'ready', running: 1, waiting: 2, free: 3 } as const

const host = (id: string, facts: Partial<HostInfo> = {}): HostInfo => ({
  ...REPORT,
  id,
  place: `place ${id}`,
  version: '1',
  silentMs: 0,
  ...facts,
})

/** A directory whose answers a test chooses. */
class FakeDirectory implements HostDirectory {
  joined = 0
  reached = true
  answer: Beat = { isMember: true, hosts: [host('1')] }
  readonly beats: unknown[] = []

  async join(): Promise<string> {
    return String((this.joined += 1))
  }

  async beat(id: string, report: object): Promise<Beat> {
    this.beats.push({ id, ...report })
    if (!this.reached) throw new Error('cut off')
    return this.answer
  }

  async list(): Promise<HostInfo[]> {
    return []
  }

  async drain(): Promise<boolean> {
    return false
  }

  async takeJob(): Promise<boolean> {
    return false
  }

  async forgetGone(): Promise<void> {}

  async describe(): Promise<void> {}

  async hostOf(): Promise<undefined> {}

  async countSessions(): Promise<number> {
    return 0
  }

  async secret(): Promise<string> {
    return ''
  }
}

async function member() {
  const clock = new FakeClock()
  const directory = new FakeDirectory()
  const membership = await Membership.join({ clock, directory, place: 'here', version: '1' })
  const heard: unknown[] = []
  const listener: MembershipListener = {
    report: () => REPORT,
    extended: (until) => heard.push(['extended', until]),
    lost: async () => void heard.push(['lost', membership.id]),
    left: () => heard.push(['left']),
    departed: (hosts) => heard.push(['departed', ...hosts.map(({ id }) => id)]),
    drainAsked: () => heard.push(['drainAsked']),
    trouble: (_message, error) => heard.push(error),
  }
  membership.start(listener)
  await clock.settle()
  return { clock, directory, membership, heard }
}

describe('a host', () => {
  test('hears of sessions that are left in a turn, with each beat that shows some', async () => {
    const { clock, directory, heard } = await member()
    const left = (): number => heard.filter((what) => (what as string[])[0] === 'left').length
    await clock.advance(2_000)
    expect(left()).toBe(0)
    directory.answer = { ...directory.answer, isLeft: true }
    await clock.advance(2_000)
    expect(left()).toBeGreaterThanOrEqual(3)
  })

  test('beats twice a second, and tells what it does', async () => {
    const { clock, directory } = await member()
    await clock.advance(10_000)
    expect(directory.beats.length).toBeGreaterThanOrEqual(18)
    expect(directory.beats.length).toBeLessThanOrEqual(24)
    expect(directory.beats[0]).toEqual({ id: '1', ...REPORT })
  })

  test('beats within 100 ms while a request waits for a host that may be gone, however often that is said', async () => {
    const { clock, directory, membership } = await member()
    await clock.advance(50)
    expect(directory.beats).toHaveLength(1)
    for (let times = 0; times < 6; times += 1) {
      membership.lookSoon()
      await clock.advance(25)
    }
    expect(directory.beats).toHaveLength(3)
    await clock.advance(400)
    expect(directory.beats).toHaveLength(3)
    await clock.advance(150)
    expect(directory.beats).toHaveLength(4)
    await membership.stop()
    membership.lookSoon()
    await clock.advance(5_000)
    expect(directory.beats).toHaveLength(4)
  })

  test('is valid until half a second before the others hold it for gone, counted from before its beat', async () => {
    const { clock, directory, membership, heard } = await member()
    expect(heard).toEqual([['extended', 2_000]])
    directory.reached = false
    await clock.advance(1_999)
    expect(membership.isValid).toBe(true)
    await clock.advance(1)
    expect(membership.isValid).toBe(false)
    directory.reached = true
    await clock.advance(600)
    expect(membership.isValid).toBe(true)
  })

  test('lets work wait while it is cut off, and refuses it after five seconds', async () => {
    const { clock, directory, membership } = await member()
    directory.reached = false
    await clock.advance(3_000)
    const waits = membership.valid()
    directory.reached = true
    await clock.advance(600)
    await waits
    directory.reached = false
    await clock.advance(3_000)
    const refused = membership.valid()
    refused.catch(() => undefined)
    await clock.advance(5_000)
    await expect(refused).rejects.toMatchObject({ code: 'store_failed' })
  })

  test('that was declared dead ends everything before it returns as another host', async () => {
    const { clock, directory, membership, heard } = await member()
    directory.answer = { isMember: false, hosts: [] }
    await clock.advance(600)
    expect(heard.slice(1)).toEqual([
      ['lost', '1'],
      // The sentinel has the lease of the new host before it starts a process.
      ['extended', expect.any(Number)],
    ])
    expect(membership.id).toBe('2')
    directory.answer = { isMember: true, hosts: [host('2')] }
    await clock.advance(600)
    expect(directory.beats.at(-1)).toMatchObject({ id: '2' })
    expect(membership.isValid).toBe(true)
  })

  test('learns which hosts are gone, and by which names they went', async () => {
    const { clock, directory, membership, heard } = await member()
    directory.answer = { isMember: true, hosts: [host('1'), host('7')] }
    await clock.advance(600)
    directory.answer = { isMember: true, hosts: [host('1')] }
    await clock.advance(600)
    expect(heard).toContainEqual(['departed', '7'])
    expect([membership.nameOf('7'), membership.nameOf('8')]).toEqual(['place 7', 'host 8'])
  })

  test('is told once that an operator wants it to drain', async () => {
    const { clock, directory, heard } = await member()
    directory.answer = { isMember: true, hosts: [host('1', { state: 'draining' })] }
    await clock.advance(3_000)
    expect(heard.filter((event) => (event as unknown[])[0] === 'drainAsked')).toHaveLength(1)
  })

  test('that has stopped beats no more, and keeps no timer', async () => {
    const { clock, directory, membership } = await member()
    await membership.stop()
    const { length } = directory.beats
    await clock.advance(5_000)
    expect([directory.beats.length, clock.pending]).toEqual([length, 0])
  })
})
