/** What `spawn` must be given so that a program starts on Windows. */
export interface WindowsCommand {
  command: string
  args: string[]
  /** True when the arguments are already quoted as cmd.exe needs them. */
  verbatim: boolean
}

/** Characters that cmd.exe gives a meaning of their own. */
const META_CHARACTERS = /[()%!^"<>&|;, *?[\]`]/g

/** Quotes one argument for a program's own parser, then for cmd.exe, which reads it before. */
function quote(argument: string): string {
  const quoted = `"${argument.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\*)$/, '$1$1')}"`
  return quoted.replace(META_CHARACTERS, '^$&')
}

/** npm installs programs as `.cmd` files, which only cmd.exe can start; everything else starts as it is. */
export function windowsCommand(command: string, args: readonly string[]): WindowsCommand {
  if (!/\.(cmd|bat)$/i.test(command)) return { command, args: [...args], verbatim: false }
  const program = command.replace(META_CHARACTERS, '^$&')
  // A .cmd file hands its arguments to cmd.exe once more.
  const words = args.map((argument) => quote(argument).replace(META_CHARACTERS, '^$&'))
  return { command: 'cmd.exe', args: ['/d', '/s', '/c', `"${[program, ...words].join(' ')}"`], verbatim: true }
}
