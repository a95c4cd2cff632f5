import { Readable } from 'node:stream'
import { Busboy } from '@fastify/busboy'
import type { BusboyInstance } from '@fastify/busboy'
import { ApiError } from '../../errors.ts'
import { MAX_FILES } from './skill-tree.ts'

/** A file of a form. */
export interface FormPart {
  path: string
  pieces: AsyncIterable<Buffer>
}

/** Characters of what people read of a skill. */
const LONGEST_LABEL = 255

const LIMITS = {
  fields: 1,
  files: MAX_FILES,
  parts: MAX_FILES + 1,
  fieldNameSize: 100,
  fieldSize: 4 * LONGEST_LABEL,
  headerPairs: 20,
  headerSize: 8_192,
}

const invalid = (message: string): ApiError => new ApiError('invalid_request_error', message)

/** Parts as they come, for one reader. */
class Parts implements AsyncIterable<FormPart> {
  readonly #waiting: FormPart[] = []
  #wake = Promise.withResolvers<void>()
  #isOver = false

  add(part: FormPart): void {
    this.#waiting.push(part)
    this.#wake.resolve()
  }

  end(): void {
    this.#isOver = true
    this.#wake.resolve()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<FormPart> {
    for (;;) {
      const part = this.#waiting.shift()
      if (part !== undefined) yield part
      else if (this.#isOver) return
      else {
        await this.#wake.promise
        this.#wake = Promise.withResolvers()
      }
    }
  }
}

function labelOf(text: string): string {
  if (text.trim() === '' || text.length > LONGEST_LABEL || /[\p{Cc}\u2028\u2029]/u.test(text) || !text.isWellFormed())
    throw invalid(`display_name: must be one line of 1 to ${LONGEST_LABEL} characters`)
  return text
}

/** Reads a form with the files of a skill. `keep` gets them as they come. Throws ApiError. */
export async function readSkillForm<Kept>(
  request: Request,
  { takesName, keep }: { takesName: boolean; keep: (parts: AsyncIterable<FormPart>) => Promise<Kept> },
): Promise<{ displayName: string | undefined; kept: Kept }> {
  const { body, headers } = request
  const contentType = headers.get('content-type') ?? ''
  if (body === null || !contentType.startsWith('multipart/form-data'))
    throw invalid('the body must be multipart/form-data with the files of a skill in "files[]"')
  const form = parserOf(contentType)
  const problem = Promise.withResolvers<never>()
  problem.promise.catch(() => undefined)
  const parts = new Parts()
  const streams = new Set<Readable>()
  let displayName: string | undefined
  const refuse = (error: Error): void => {
    problem.reject(error)
    for (const stream of streams) stream.destroy(error)
    parts.end()
    form.destroy()
  }
  form.on('file', (field, stream, filename: string | undefined) => {
    streams.add(stream)
    stream.on('error', () => undefined)
    stream.once('close', () => streams.delete(stream))
    if (field !== 'files' && field !== 'files[]') return refuse(stranger(field, takesName))
    parts.add({ path: filename ?? '', pieces: stream as AsyncIterable<Buffer> })
  })
  form.on('field', (field, value) => {
    if (takesName && field === 'display_name') displayName = value
    else refuse(stranger(field, takesName))
  })
  for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const)
    form.on(limit, () => refuse(invalid(`files: are more than ${MAX_FILES}, or the form has other fields`)))
  form.once('finish', () => parts.end())
  form.on('error', (cause) => refuse(new ApiError('invalid_request_error', 'the body is not a whole form', { cause })))
  const source = Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0])
  source.on('error', (cause) =>
    refuse(new ApiError('invalid_request_error', 'the body did not arrive whole', { cause })),
  )
  source.pipe(form)
  const keeping = keep(parts)
  keeping.catch(refuse)
  try {
    const kept = await Promise.race([keeping, problem.promise])
    return { displayName: displayName === undefined ? undefined : labelOf(displayName), kept }
  } finally {
    source.destroy()
    form.destroy()
    await keeping.catch(() => undefined)
  }
}

const stranger = (field: string, takesName: boolean): ApiError =>
  invalid(
    `${JSON.stringify(field.slice(0, 100))}: is no field of this request; it takes files[]${takesName ? ' and display_name' : ''}`,
  )

function parserOf(contentType: string): BusboyInstance {
  try {
    return new Busboy({ headers: { 'content-type': contentType }, limits: LIMITS, preservePath: true })
  } catch (cause) {
    throw new ApiError('invalid_request_error', 'the content-type names no boundary of a form', { cause })
  }
}
