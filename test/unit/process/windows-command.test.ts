import { describe, expect, it } from 'vitest'
import { windowsCommand } from '../../../src/process/windows-command.ts'

describe('a program on Windows', () => {
  it('starts as it is when it is an executable', () => {
    expect(windowsCommand('C:\\claude.exe', ['--model', 'a b'])).toEqual({
      command: 'C:\\claude.exe',
      args: ['--model', 'a b'],
      verbatim: false,
    })
  })

  it('starts through cmd.exe when it is a .cmd file, with nothing left for cmd.exe to interpret', () => {
    const { command, args, verbatim } = windowsCommand('C:\\npm\\claude.CMD', ['--print', 'a&b', '100%'])
    expect(command).toBe('cmd.exe')
    expect(verbatim).toBe(true)
    expect(args.slice(0, 3)).toEqual(['/d', '/s', '/c'])
    expect(args[3]).toMatch(/^"C:\\npm\\claude\.CMD /)
    expect(args[3]).not.toMatch(/[^^]&/)
    expect(args[3]).not.toMatch(/[^^]%/)
  })

  it('keeps quotes and trailing backslashes in their argument', () => {
    const [, , , line = ''] = windowsCommand('x.cmd', ['say "hi"', 'dir\\']).args
    const unescaped = line.replaceAll('^', '')
    expect(unescaped).toContain('"say \\"hi\\""')
    expect(unescaped).toContain('"dir\\\\"')
  })
})
