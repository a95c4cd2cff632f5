import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { ApiError } from '../errors.ts'

/** Beside the compiled server, and where `npm run build` puts it when the server runs from its sources. */
const FOLDERS = [join(import.meta.dirname, '../../page'), join(import.meta.dirname, '../../../dist/page')]

const TYPES: Record<string, string> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
}

/** No script but the page's own files, no style in attributes, no frame, no other host. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const HEADERS = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  vary: 'accept-encoding',
}

interface Asset {
  type: string
  whole: Buffer<ArrayBuffer>
  /** Compressed when it is first asked for, by another thread. */
  packed?: Promise<Buffer<ArrayBuffer>>
}

const compressed = promisify<Buffer, { level: number }, Buffer<ArrayBuffer>>(gzip)

/** The built files of the page, in memory. */
export class Assets {
  readonly #files: ReadonlyMap<string, Asset>

  private constructor(files: ReadonlyMap<string, Asset>) {
    this.#files = files
  }

  /** Throws ApiError if the page was not built. */
  static async load(): Promise<Assets> {
    for (const folder of FOLDERS) {
      const names = await readdir(folder, { recursive: true }).catch((): string[] => [])
      if (!names.includes('index.html')) continue
      const files = names.filter((name) => typeOf(name) !== undefined)
      return new Assets(new Map(await Promise.all(files.map((name) => read(folder, name)))))
    }
    throw new ApiError('not_found_error', 'the page was not built: run "npm run build" in the source tree')
  }

  /** Answers with a file. Throws ApiError (not_found_error). */
  async answer(name: string, acceptEncoding: string): Promise<Response> {
    const file = this.#files.get(name)
    if (file === undefined) throw new ApiError('not_found_error', `the page has no ${name}`)
    const packed = /\bgzip\b/.test(acceptEncoding)
    return new Response(packed ? await (file.packed ??= compressed(file.whole, { level: 9 })) : file.whole, {
      headers: {
        ...HEADERS,
        'content-type': file.type,
        // All names but this one have a hash of their content.
        'cache-control': name === 'index.html' ? 'no-cache' : 'public, max-age=31536000, immutable',
        ...(packed ? { 'content-encoding': 'gzip' } : {}),
      },
    })
  }
}

const typeOf = (name: string): string | undefined => TYPES[name.split('.').at(-1) ?? '']

async function read(folder: string, name: string): Promise<[string, Asset]> {
  const whole = await readFile(join(folder, name))
  return [name.replaceAll('\\', '/'), { type: typeOf(name) ?? '', whole }]
}
