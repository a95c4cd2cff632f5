import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'

/** A place that needs a credential. The processes of the agent reach it at a local address of their own, which adds the credential. */
export interface RemoteOptions {
  /**
   * Requests go to this URL and below it, and nowhere else. A URL that ends in `.git` or `/` is also what `git` finds by itself: it
   * reaches repositories at or below it through the local address.
   */
  url: string
  /** Sent as `Authorization: Bearer`. */
  bearer?: string
  /** Sent as `Authorization: Basic`. */
  basic?: { username: string; password: string }
  /** Further headers, by name. */
  headers?: Readonly<Record<string, string>>
}

/** One place, and how it is reached. */
export interface Remote {
  /** Unique within its process. */
  readonly id: string
  /** The path of its local address; `` is the whole of it. */
  readonly mount: string
  /** Only paths at or below this one are asked for; `` is all. */
  readonly prefix: string
  readonly url: string
  /** What is added, by lower-case names. */
  readonly headers: Readonly<Record<string, string>>
}

/** A remote that the options of an agent name. */
export interface NamedRemote extends Remote {
  readonly name: string
}

/** Headers that belong to the connection: adding them would break the request. */
const NOT_ADDED = /^(?:host|connection|content-length|transfer-encoding|upgrade|expect|te|trailer|proxy-[\w-]+)$/i

/** What a header may hold: text of one line. */
const LINE = /^[\t\x20-\x7e\x80-\xff]*$/

const line = z.string().regex(LINE, 'must be text of one line')

const NAME = /^[A-Za-z][A-Za-z0-9-]{0,63}$/
const HEADER = /^[!#$%&'*+.^_`|~\w-]+$/

const url = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).refine(
  (text) => {
    const { username, password, search, hash } = new URL(text)
    return username + password + search + hash === ''
  },
  { error: 'must have no user, query or fragment; put the credential into bearer, basic or headers' },
)

const schema = z.record(
  z.string(),
  z.strictObject({
    url,
    bearer: line.min(1).optional(),
    basic: z
      .strictObject({ username: z.string().regex(/^[^:]*$/, 'must have no ":"'), password: z.string() })
      .optional(),
    headers: z.record(z.string(), line).optional(),
  }),
)

/** What one remote adds, by lower-case names. */
function addedBy(path: string, { bearer, basic, headers = {} }: Omit<RemoteOptions, 'url'>): Record<string, string> {
  for (const header of Object.keys(headers)) {
    if (!HEADER.test(header)) throw new ConfigError(`${path}.headers.${header}`, 'is not the name of a header')
    if (NOT_ADDED.test(header))
      throw new ConfigError(`${path}.headers.${header}`, 'belongs to the connection; leave it out')
  }
  const added = Object.fromEntries(Object.entries(headers).map(([header, value]) => [header.toLowerCase(), value]))
  if ([bearer, basic, added['authorization']].filter((one) => one !== undefined).length > 1)
    throw new ConfigError(path, 'has more than one of bearer, basic and headers.authorization')
  if (bearer !== undefined) added['authorization'] = `Bearer ${bearer}`
  if (basic !== undefined)
    added['authorization'] = `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString('base64')}`
  if (Object.keys(added).length === 0)
    throw new ConfigError(path, 'has no credential; give it bearer, basic or headers')
  return added
}

/** Throws ConfigError. */
export function readRemotes(
  path: string,
  input: Readonly<Record<string, RemoteOptions>> | undefined,
): readonly NamedRemote[] {
  if (input === undefined) return []
  const given = Object.entries(validate(path, schema, input) as Record<string, RemoteOptions>)
  const folded = given.map(([name]) => name.toLowerCase())
  return given.map(([name, remote], index) => {
    if (!NAME.test(name))
      throw new ConfigError(`${path}.${name}`, 'a name is a letter, then up to 63 of letters, digits and "-"')
    if (folded.indexOf(name.toLowerCase()) !== index)
      throw new ConfigError(`${path}.${name}`, 'is there twice, in upper and lower case')
    return {
      id: `remote:${name}`,
      name,
      mount: `/${name}${remote.url.endsWith('.git') ? '.git' : ''}`,
      prefix: new URL(remote.url).pathname.replace(/\/+$/, ''),
      url: remote.url,
      headers: addedBy(`${path}.${name}`, remote),
    }
  })
}
