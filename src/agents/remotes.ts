import type { McpServerConfig } from '../driver/driver.ts'
import type { NamedRemote, Remote } from '../options/remotes.ts'

type Servers = Readonly<Record<string, McpServerConfig>>

/** How a process reaches its remotes. */
interface Access {
  /** `http://127.0.0.1:PORT`. */
  base: string
  tokens: Readonly<Record<string, string>>
}

type Elsewhere = Extract<McpServerConfig, { url: string }>

const isElsewhere = (server: object): server is Elsewhere => {
  const { type, url } = server as Partial<Elsewhere>
  return (type === 'http' || type === 'sse') && url !== undefined && URL.canParse(url)
}

/** True for an MCP server whose headers or query can hold a secret. The CLI itself fills in `${…}`, from the environment of the process. */
export function hasSecret(server: object): boolean {
  if (!isElsewhere(server) || usesEnvironment(server)) return false
  return Object.keys(server.headers ?? {}).length > 0 || new URL(server.url).search !== ''
}

/** True for an MCP server with `${…}` in its headers or address. */
export const usesEnvironment = (server: object): boolean =>
  isElsewhere(server) && [server.url, ...Object.values(server.headers ?? {})].some((text) => text.includes('${'))

/** True if processes need a local address, as far as these options say: a function can make servers, too. */
export function hasRemotes({ remotes = {}, mcpServers }: { remotes?: object; mcpServers?: unknown }): boolean {
  const servers = typeof mcpServers === 'object' ? Object.values(mcpServers as Servers) : []
  return Object.keys(remotes).length > 0 || servers.some(hasSecret)
}

/** The remotes that MCP servers are, by the names of the servers. */
export function remotesOf(servers: Servers | undefined): Map<string, Remote> {
  const found = Object.entries(servers ?? {}).filter((entry): entry is [string, Elsewhere] => hasSecret(entry[1]))
  return new Map(
    found.map(([name, { type, url: text, headers = {} }]) => {
      const url = new URL(text)
      // The messages of an SSE server go to a path that the server names later.
      const place =
        type === 'sse'
          ? { mount: '', prefix: '' }
          : { mount: `/${encodeURIComponent(name)}`, prefix: url.pathname.replace(/\/+$/, '') }
      const added = Object.fromEntries(Object.entries(headers).map(([header, value]) => [header.toLowerCase(), value]))
      return [name, { id: `mcp:${name}`, ...place, url: url.href, headers: added }]
    }),
  )
}

/** The servers as the process gets them: at local addresses, with a token in place of their own headers. */
export function reached(servers: Servers, remotes: ReadonlyMap<string, Remote>, { base, tokens }: Access): Servers {
  return Object.fromEntries(
    Object.entries(servers).map(([name, server]) => {
      const remote = remotes.get(name)
      if (remote === undefined || !isElsewhere(server)) return [name, server]
      const { mount, prefix, id } = remote
      const url = `${base}${mount}${new URL(remote.url).pathname.slice(prefix.length)}`
      return [name, { ...server, url, headers: { authorization: `Bearer ${tokens[id]}` } }]
    }),
  )
}

/** The variable that holds the local address of a remote, with the token as its password. */
const variableOf = (name: string): string => `REMOTE_URL_${name.toUpperCase().replaceAll('-', '_')}`

/** Environment variables that tell programs and `git` where remotes are. `env`: the variables of the process. */
export function remoteVariables(
  remotes: readonly NamedRemote[],
  { base, tokens }: Access,
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  const { host } = new URL(base)
  const addresses = remotes.map(({ id, name, mount }) => [
    variableOf(name),
    `http://agent:${tokens[id]}@${host}${mount}`,
  ])
  const settings = remotes.flatMap(({ id, mount, url }): [string, string][] => {
    if (!/(?:\.git|\/)$/.test(url)) return []
    const at = `${base}${mount}${url.endsWith('/') ? '/' : ''}`
    return [
      [`url.${at}.insteadOf`, url],
      [`http.${at}.extraHeader`, `Authorization: Bearer ${tokens[id]}`],
    ]
  })
  return { ...Object.fromEntries(addresses), ...gitSettings(settings, env) }
}

/** Adds to the settings that `git` reads from the environment. */
function gitSettings(
  settings: readonly [string, string][],
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  if (settings.length === 0) return {}
  const before = Number(env['GIT_CONFIG_COUNT'] ?? 0) || 0
  const added = settings.flatMap(([key, value], index) => [
    [`GIT_CONFIG_KEY_${before + index}`, key],
    [`GIT_CONFIG_VALUE_${before + index}`, value],
  ])
  return { ...Object.fromEntries(added), GIT_CONFIG_COUNT: String(before + settings.length) }
}

/** Programs reach loopback without the proxy that their environment names. */
export function aroundProxies(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    ['NO_PROXY', 'no_proxy'].map((name) => {
      const hosts = (env[name] ?? '').split(',').filter((host) => host !== '')
      return [name, [...new Set([...hosts, '127.0.0.1'])].join(',')]
    }),
  )
}
