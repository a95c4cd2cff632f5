import { createHash, createHmac } from 'node:crypto'
import { formatWall as isoOf } from '../../clock.ts'

/** A request as AWS Signature Version 4 sees it. */
export interface SignedRequest {
  method: string
  url: URL
  /** Lower-case names. All of them are signed. */
  headers: Readonly<Record<string, string>>
  body: Buffer | string
}

export interface AwsCredential {
  region: string
  service: string
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string | undefined
}

const ALGORITHM = 'AWS4-HMAC-SHA256'

const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex')
const hmac = (key: Buffer | string, data: string): Buffer => createHmac('sha256', key).update(data).digest()

/** RFC 3986 leaves fewer characters as they are than JavaScript does. */
const escaped = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)

/** Each part of the path is escaped once more than on the wire, as all services but S3 want it. */
const canonicalPath = (url: URL): string => url.pathname.split('/').map(escaped).join('/')

function canonicalQuery(url: URL): string {
  const pairs = [...url.searchParams].map(([name, value]) => [escaped(name), escaped(value)] as const)
  const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
  return pairs
    .toSorted(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

/** The headers that sign a request at `wallMs`, in milliseconds since the epoch: `authorization`, `x-amz-date` and a session token's. */
export function signV4(request: SignedRequest, credential: AwsCredential, wallMs: number): Record<string, string> {
  const { method, url, body } = request
  const { region, service, accessKeyId, secretAccessKey, sessionToken } = credential
  const stamp = isoOf(wallMs).replaceAll(/[:-]|\.\d{3}/g, '')
  const day = stamp.slice(0, 8)
  const added = {
    'x-amz-date': stamp,
    ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
  }
  const all = Object.entries({ ...request.headers, host: url.host, ...added }).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const names = all.map(([name]) => name).join(';')
  const canonical = [
    method,
    canonicalPath(url),
    canonicalQuery(url),
    ...all.map(([name, value]) => `${name}:${value.trim().replaceAll(/\s+/g, ' ')}`),
    '',
    names,
    sha256(body),
  ].join('\n')
  const scope = `${day}/${region}/${service}/aws4_request`
  const key = [region, service, 'aws4_request'].reduce<Buffer>(hmac, hmac(`AWS4${secretAccessKey}`, day))
  const signature = hmac(key, [ALGORITHM, stamp, scope, sha256(canonical)].join('\n')).toString('hex')
  const authorization = `${ALGORITHM} Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  return { ...added, authorization }
}
