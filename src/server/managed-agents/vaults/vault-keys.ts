import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { ConfigError } from '../../../errors.ts'
import { ApiError } from '../../errors.ts'

/** A key that secrets of vaults are encrypted with. */
export interface VaultKeyOptions {
  /** What secrets that it encrypts are marked with. It stays with the key. */
  id: string
  /** 32 bytes in base64. */
  key?: string | undefined
  /** A file with the same. */
  file?: string | undefined
  /** A program that prints the same, for example one that asks a key management service, with its arguments. `serve` runs it. */
  command?: readonly string[] | undefined
}

/** The `vaults` section of `managedAgents`. */
export interface VaultsOption {
  /** The first one encrypts; each decrypts what it has encrypted. */
  keys: readonly VaultKeyOptions[]
}

/** The shape of `vaults`. */
export const vaultsOption: z.ZodType<VaultsOption> = z.strictObject({
  keys: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'is no name: letters, digits, ., _ and -, 64 at most'),
        key: z.string().optional(),
        file: z.string().min(1).optional(),
        command: z.array(z.string()).min(1).max(64).optional(),
      }),
    )
    .max(16, 'are more than 16')
    .refine((keys) => new Set(keys.map(({ id }) => id)).size === keys.length, { error: 'have an id twice' }),
})

const ALGORITHM = 'aes-256-gcm'
const KEY_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16

/** A secret as it is kept: encrypted with a key of its own, which is encrypted with one of the config. */
export interface Sealed {
  /** The id of that key. */
  key: string
  wrapped: string
  data: string
}

/** The keys of the config. */
export class VaultKeys {
  readonly #keys: ReadonlyMap<string, Buffer>

  /** Reads files. Throws ConfigError, which never shows a key. */
  constructor({ keys }: VaultsOption = { keys: [] }) {
    this.#keys = new Map(keys.map((options, index) => [options.id, readKey(index, options)]))
  }

  /** True if nothing can be encrypted. */
  get none(): boolean {
    return this.#keys.size === 0
  }

  /** The id of the key that encrypts. */
  get newest(): string | undefined {
    return this.#keys.keys().next().value
  }

  /** `place`: what the secret belongs to. It opens nowhere else. Throws if there is no key. */
  seal(secret: string, place: readonly string[]): Sealed {
    const dataKey = randomBytes(KEY_BYTES)
    return { ...this.#wrap(dataKey, place), data: encrypt(dataKey, Buffer.from(secret), place) }
  }

  /** Throws if the key is not there, or the secret is not what was sealed for this place. */
  open(sealed: Sealed, place: readonly string[]): string {
    try {
      return decrypt(this.#unwrap(sealed, place), sealed.data, place).toString('utf8')
    } catch (cause) {
      if (cause instanceof ApiError) throw cause
      throw new ApiError(
        'invalid_request_error',
        'the secret of this credential was changed in the store; create it anew',
        {
          status: 409,
          cause,
        },
      )
    }
  }

  /** The same secret under the newest key. Throws like `open()`. */
  rewrap(sealed: Sealed, place: readonly string[]): Sealed {
    return { ...sealed, ...this.#wrap(this.#unwrap(sealed, place), place) }
  }

  #wrap(dataKey: Buffer, place: readonly string[]): Pick<Sealed, 'key' | 'wrapped'> {
    const [newest] = this.#keys
    if (newest === undefined) throw new Error('there is no key to encrypt secrets with')
    const [id, key] = newest
    return { key: id, wrapped: encrypt(key, dataKey, ['key', id, ...place]) }
  }

  #unwrap({ key: id, wrapped }: Sealed, place: readonly string[]): Buffer {
    const key = this.#keys.get(id)
    if (key === undefined)
      throw new ApiError(
        'invalid_request_error',
        `the secret of this credential is encrypted with the key "${id}", which this server does not have; tell its operator, or create it anew`,
        { status: 409 },
      )
    return decrypt(key, wrapped, ['key', id, ...place])
  }
}

function readKey(index: number, { key, file, command }: VaultKeyOptions): Buffer {
  const place = `server.managedAgents.vaults.keys.${index}`
  if ([key, file, command].filter((given) => given !== undefined).length !== 1)
    throw new ConfigError(place, 'needs one of key, file and command')
  if (command !== undefined)
    throw new ConfigError(`${place}.command`, 'is run by claude-agent-pool serve alone; give key')
  const bytes = Buffer.from(key ?? readFile(`${place}.file`, file ?? ''), 'base64')
  if (bytes.length !== KEY_BYTES)
    throw new ConfigError(
      place,
      `is not ${KEY_BYTES} bytes in base64; make a key with: openssl rand -base64 ${KEY_BYTES}`,
    )
  return bytes
}

function readFile(place: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new ConfigError(place, `${file} cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function encrypt(key: Buffer, bytes: Buffer, place: readonly string[]): string {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv(ALGORITHM, key, iv).setAAD(Buffer.from(JSON.stringify(place)))
  return Buffer.concat([iv, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

function decrypt(key: Buffer, text: string, place: readonly string[]): Buffer {
  const bytes = Buffer.from(text, 'base64')
  const end = bytes.length - TAG_BYTES
  const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, IV_BYTES))
  decipher.setAAD(Buffer.from(JSON.stringify(place))).setAuthTag(bytes.subarray(end))
  return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, end)), decipher.final()])
}
