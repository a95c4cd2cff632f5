import { ConfigError } from './errors.ts'

/** What the system's codes mean for the chosen address. */
const PROBLEMS: Readonly<Record<string, { option: 'host' | 'port'; says: (host: string, port: number) => string }>> = {
  EADDRINUSE: {
    option: 'port',
    says: (host, port) =>
      `${port} is in use on ${host} by another program; end that, choose another port, or 0 for any free one`,
  },
  EACCES: {
    option: 'port',
    says: (_, port) => `${port} is not open to this user; choose a port above 1023, or run as a user who may have it`,
  },
  EADDRNOTAVAIL: {
    option: 'host',
    says: (host) => `${host} is no address of this machine; choose 127.0.0.1 for this machine alone, 0.0.0.0 for all`,
  },
  ENOTFOUND: {
    option: 'host',
    says: (host) => `the name ${host} has no address; choose an address of this machine, such as 127.0.0.1`,
  },
}
const UNKNOWN_NAME = new Set(['EAI_AGAIN', 'EAI_NODATA', 'EAI_NONAME'])

/** The ConfigError for a server that cannot listen. `section`: where host and port are options, like `"server."`. */
export function listenProblem(section: string, host: string, port: number, cause: unknown): ConfigError {
  const { code = '', message } = cause as NodeJS.ErrnoException
  const { option, says } = PROBLEMS[UNKNOWN_NAME.has(code) ? 'ENOTFOUND' : code] ?? {
    option: 'port',
    says: () => `cannot listen on ${host}:${port}: ${message}`,
  }
  return new ConfigError(`${section}${option}`, says(host, port), { cause })
}
