import { Readable } from 'node:stream'
import { Busboy } from '@fastify/busboy'
import type { BusboyInstance } from '@fastify/busboy'
import { ApiError } from '../../errors.ts'
import { UNKNOWN, typeOf } from './media-types.ts'

/** What comes with the bytes of a file. */
export interface Upload {
  filename: string
  mimeType: string
  expiresInSeconds: number | undefined
}

/** Bytes of a name, as file systems take it. */
const LONGEST_NAME = 255

/** The names of files that come without one. */
const ENDINGS: Readonly<Record<string, string>> = {
  'application/json': '.json',
  'application/pdf': '.pdf',
  'image/jpeg': '.jpg',
  'image/png': '.png',
  'text/csv': '.csv',
  'text/plain': '.txt',
}

const [SHORTEST_LIFE, LONGEST_LIFE] = [3_600, 7_776_000]

const LIMITS = { fields: 1, files: 1, parts: 2, fieldNameSize: 100, fieldSize: 100, headerPairs: 20, headerSize: 8_192 }

const invalid = (message: string): ApiError => new ApiError('invalid_request_error', message)

/** The last part of a path that a client gives. Throws ApiError for what no file can be called. */
export function nameOf(given: string | undefined, mimeType: string): string {
  const name = (given ?? '').split(/[/\\]/).at(-1) ?? ''
  if (name === '' || name === '.' || name === '..') return `unnamed${ENDINGS[mimeType] ?? ''}`
  // Control characters, line separators, and marks that turn the direction of text around.
  if (/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(name) || !name.isWellFormed())
    throw invalid('file: its name has characters that do not belong in a name')
  if (Buffer.byteLength(name) > LONGEST_NAME) throw invalid(`file: its name has more than ${LONGEST_NAME} bytes`)
  return name
}

const mimeTypeOf = (given: string): string =>
  /^[\w.+-]{1,64}\/[\w.+-]{1,64}$/.test(given) ? given.toLowerCase() : UNKNOWN

function lifeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const seconds = Number(text)
  if (/^\d+$/.test(text) && seconds >= SHORTEST_LIFE && seconds <= LONGEST_LIFE) return seconds
  throw invalid(`expires_in_seconds: must be a whole number from ${SHORTEST_LIFE} to ${LONGEST_LIFE}`)
}

/** Reads a form with one file. `keep` gets its pieces as they come. Throws ApiError. */
export async function readUpload<Kept>(
  request: Request,
  keep: (pieces: AsyncIterable<Buffer>) => Promise<Kept>,
): Promise<Upload & { kept: Kept }> {
  const { body, headers } = request
  const contentType = headers.get('content-type') ?? ''
  if (body === null || !contentType.startsWith('multipart/form-data'))
    throw invalid('the body must be multipart/form-data with a field "file"')
  const form = parserOf(contentType)
  const found = Promise.withResolvers<never>()
  found.promise.catch(() => undefined)
  let file: Promise<Kept> | undefined
  let incoming: Readable | undefined
  let facts: Pick<Upload, 'filename' | 'mimeType'> | undefined
  let life: string | undefined
  const refuse = (error: Error): void => {
    found.reject(error)
    incoming?.destroy(error)
    form.destroy()
  }
  form.on('file', (field, stream, filename: string | undefined, _encoding, mimeType) => {
    incoming = stream
    stream.on('error', () => undefined)
    try {
      if (field !== 'file') throw stranger(field)
      const type = mimeTypeOf(mimeType)
      const name = nameOf(filename, type)
      facts = { filename: name, mimeType: type === UNKNOWN ? typeOf(name) : type }
      file = keep(stream as AsyncIterable<Buffer>)
      file.catch(refuse)
    } catch (error) {
      refuse(error as Error)
    }
  })
  form.on('field', (field, value) => {
    if (field === 'expires_in_seconds') life = value
    else refuse(stranger(field))
  })
  for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const)
    form.on(limit, () => refuse(invalid('the form has more than a file and expires_in_seconds')))
  const finished = new Promise<void>((resolve) => void form.once('finish', resolve))
  form.on('error', (cause) => refuse(new ApiError('invalid_request_error', 'the body is not a whole form', { cause })))
  const source = Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0])
  source.on('error', (cause) =>
    refuse(new ApiError('invalid_request_error', 'the body did not arrive whole', { cause })),
  )
  source.pipe(form)
  try {
    await Promise.race([finished, found.promise])
    if (file === undefined || facts === undefined) throw invalid('file: is missing')
    return { ...facts, expiresInSeconds: lifeOf(life), kept: await file }
  } finally {
    source.destroy()
    await file?.catch(() => undefined)
  }
}

const stranger = (field: string): ApiError =>
  invalid(`${JSON.stringify(field.slice(0, 100))}: is no field of this request; it takes file and expires_in_seconds`)

function parserOf(contentType: string): BusboyInstance {
  try {
    return new Busboy({ headers: { 'content-type': contentType }, limits: LIMITS, preservePath: true })
  } catch (cause) {
    throw new ApiError('invalid_request_error', 'the content-type names no boundary of a form', { cause })
  }
}
