import { describe, expect, it } from 'vitest'
import { OomWatch, oomCounterFiles, parseOomKills } from '../../../src/memory/oom.ts'
import { FakeClock } from '../../../src/testing/index.ts'

describe('the count of OOM kills', () => {
  it('is read from both versions of cgroups', () => {
    expect(parseOomKills('low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n')).toBe(1)
    expect(parseOomKills('oom_kill_disable 0\nunder_oom 0\noom_kill 3\n')).toBe(3)
    expect(parseOomKills('low 0\n')).toBeUndefined()
  })

  it('is looked for in the cgroup itself, then in what a container shows as its root', () => {
    expect(oomCounterFiles('0::/kube/pod\n').slice(0, 2)).toEqual([
      '/sys/fs/cgroup/kube/pod/memory.events',
      '/sys/fs/cgroup/memory.events',
    ])
    expect(oomCounterFiles('4:memory:/job\n3:cpu:/\n')).toEqual([
      '/sys/fs/cgroup/memory/job/memory.oom_control',
      '/sys/fs/cgroup/memory/memory.oom_control',
    ])
  })
})

describe('the watch on it', () => {
  it('tells a kill of just now from an old one', async () => {
    let kills = 5
    const clock = new FakeClock()
    const watch = new OomWatch(clock, () => kills)
    expect(watch.killedJustNow()).toBe(false)
    kills = 6
    expect(watch.killedJustNow()).toBe(true)
    await clock.advance(5_000)
    expect(watch.killedJustNow()).toBe(false)
    watch.stop()
  })

  it('says no where nobody counts', () => {
    expect(new OomWatch(new FakeClock(), () => undefined).killedJustNow()).toBe(false)
  })
})
