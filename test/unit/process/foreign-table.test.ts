import { describe, expect, it } from 'vitest'
import { listQuery, parsePs, parseWindowsList } from '../../../src/process/foreign-table.ts'
import { parseStartTime, startTimeQuery } from '../../../src/process/start-time.ts'

/** As macOS 15 prints it for `ps -axo pid=,ppid=,pgid=,state=,lstart=`. */
const MACOS = `    1     0     1 Ss   Sat Nov 21 08:02:11 2026
  412     1   412 S    Sat Nov 21 08:02:40 2026
 5121   412  5121 Ss   Sat Nov 21 10:35:01 2026
 5130  5121  5121 S+   Sat Nov 21 10:35:02 2026
 5131  5121  5121 Z    Sat Nov 21 10:35:02 2026
`

/** As Windows 11 prints it for our script, with its line ends, and without a date for the idle process. */
const WINDOWS = [
  '0 0 ',
  '4 0 2026-11-21T07:00:01.1234567Z',
  '5120 812 2026-11-21T10:35:01.5000000Z',
  '5131 5120 2026-11-21T10:35:02.2500000Z',
  '6000 5131 2026-11-21T10:30:00.0000000Z',
  '',
].join('\r\n')

const at = (date: string): string => String(Date.parse(date))

describe('the process list of macOS', () => {
  it('gives pid, parent, group and start time, and leaves zombies out', () => {
    expect(parsePs(MACOS).map(({ pid, ppid, group }) => [pid, ppid, group])).toEqual([
      [1, 0, 1],
      [412, 1, 412],
      [5121, 412, 5121],
      [5130, 5121, 5121],
    ])
    expect(parsePs(MACOS)[2]?.startTime).toBe(at('Sat Nov 21 10:35:01 2026'))
  })

  it('survives lines that it does not know', () => {
    expect(parsePs('ps: something is wrong\n\n')).toEqual([])
  })
})

describe('the process list of Windows', () => {
  it('gives pid, parent and start time', () => {
    const entry = parseWindowsList(WINDOWS).find(({ pid }) => pid === 5131)
    expect(entry).toMatchObject({ ppid: 5120, startTime: at('2026-11-21T10:35:02.250Z') })
  })

  it('does not take a younger process for the parent whose number it has', () => {
    expect(parseWindowsList(WINDOWS).find(({ pid }) => pid === 6000)?.ppid).toBe(0)
  })
})

describe('start times', () => {
  it('are read from what each tool prints', () => {
    expect(parseStartTime('darwin', 'Sat Nov 21 10:35:01 2026    \n')).toBe(at('Sat Nov 21 10:35:01 2026'))
    expect(parseStartTime('win32', '2026-11-21T10:35:01.1234567Z\r\n')).toBe(at('2026-11-21T10:35:01.123Z'))
    expect(parseStartTime('win32', '')).toBeUndefined()
  })

  it('are asked of tools that each platform brings', () => {
    expect(startTimeQuery('darwin', 42)).toEqual(['ps', ['-p', '42', '-o', 'lstart=']])
    expect(startTimeQuery('win32', 42)[0]).toBe('powershell.exe')
    expect(listQuery('darwin')[0]).toBe('ps')
    expect(listQuery('win32')[0]).toBe('powershell.exe')
  })
})
