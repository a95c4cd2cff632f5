import { basename, dirname } from 'node:path'
import { BRIDGE_PORT } from '../egress/rules.ts'
import type { EgressLists } from '../egress/rules.ts'
import type { SandboxedCommand } from './sandbox.ts'

/** Connections at a time. */
const MAX_CHILDREN = 128

/** How `/proc/net/tcp` says that something listens at the port of 127.0.0.1. */
const LISTENS = `0100007F:${BRIDGE_PORT.toString(16).toUpperCase().padStart(4, '0')} 0A`

/**
 * `socat` passes what comes to the port on to the socket, beside the command and with none of its streams. The command begins when it
 * listens, or has failed.
 */
const SCRIPT = `(cd "$1" && exec "$3" TCP-LISTEN:${BRIDGE_PORT},bind=127.0.0.1,reuseaddr,backlog=128,fork,max-children=${MAX_CHILDREN} "UNIX-CONNECT:$2") </dev/null >/dev/null 2>&1 &
shift 3
until while read -r _ at _ state _; do [ "$at $state" = "${LISTENS}" ] && break; done </proc/net/tcp; do kill -0 $! 2>/dev/null || break; done
exec "$@"`

/** Hosts that programs reach without the proxy: those of the sandbox itself. */
const OWN_HOSTS = ['localhost', '127.0.0.1', '::1']

/** The same command beside a bridge from its loopback to an HTTP proxy at a socket. */
export function bridged(
  { command, args }: Pick<SandboxedCommand, 'command' | 'args'>,
  { socat, socket }: { socat: string; socket: string },
): { command: string; args: string[] } {
  return {
    command: '/bin/sh',
    args: ['-c', SCRIPT, 'sh', dirname(socket), basename(socket), socat, command, ...args],
  }
}

/** The variables by which programs find the bridge. An own host that is allowed is that of the machine. */
export function proxyVariables(allow: EgressLists): Record<string, string> {
  const proxy = `http://127.0.0.1:${BRIDGE_PORT}`
  const isListed = (host: string): boolean =>
    allow.flat().some((entry) => entry.startsWith(`${host}:`) || entry.startsWith(`[${host}]:`))
  const direct = OWN_HOSTS.filter((host) => !isListed(host)).join(',')
  const variables = { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, ALL_PROXY: proxy, NO_PROXY: direct }
  return {
    ...variables,
    ...Object.fromEntries(Object.entries(variables).map(([name, value]) => [name.toLowerCase(), value])),
    // Node's own fetch() and http look at the others from 22.21 and 24.5 on, and only with this.
    NODE_USE_ENV_PROXY: '1',
  }
}
