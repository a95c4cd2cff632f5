import { existsSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { StartError } from '../errors.ts'
import type { Sandbox, SandboxedCommand } from './sandbox.ts'

/** An MCP server that the process starts itself. */
interface StdioServer {
  command: string
  args?: readonly string[]
}

/** An MCP server elsewhere. */
interface RemoteServer {
  url: string
}

const isRemote = (server: unknown): server is RemoteServer =>
  typeof (server as RemoteServer | undefined)?.url === 'string'

const isStdio = (server: unknown): server is StdioServer =>
  typeof (server as StdioServer | undefined)?.command === 'string'

/** Throws StartError for an MCP server that exists, but not inside: it would fail there without a word. */
export function checkCommands(
  sandbox: Sandbox,
  inner: SandboxedCommand,
  servers: Readonly<Record<string, unknown>> | undefined,
  reaches: (url: string) => boolean,
): void {
  for (const [name, server] of Object.entries(servers ?? {})) {
    if (isRemote(server) && !reaches(server.url))
      throw new StartError(
        'isolation',
        `the MCP server "${name}" is at ${hostOf(server.url)}, and isolation.egress leaves no way there; name it in isolation.egress.allow`,
      )
    if (!isStdio(server)) continue
    const words = [programOf(server.command, inner.env['PATH']), ...(server.args ?? [])]
    const hidden = words.find(
      (word) => word !== undefined && isAbsolute(word) && existsSync(word) && !sandbox.shows(word, inner),
    )
    if (hidden !== undefined)
      throw new StartError(
        'isolation',
        `the MCP server "${name}" needs ${hidden}, which sandboxed processes do not see; add its folder to isolation.paths.read`,
      )
  }
}

/** The rest of a URL may hold a secret. */
const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).host : 'an address that is no URL')

/** Where PATH finds a command; undefined if it does not. */
export function programOf(command: string, path = ''): string | undefined {
  if (isAbsolute(command)) return command
  const folders = path.split(delimiter).filter((folder) => isAbsolute(folder))
  return folders.map((folder) => join(folder, command)).find((program) => existsSync(program))
}
