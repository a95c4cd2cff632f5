import { z } from 'zod'
import { metadata, metadataPatch } from '../schema.ts'
import type { MetadataPatch } from '../schema.ts'

/** Bytes of the content of one memory. */
export const MAX_CONTENT = 102_400

/** Bytes of a path, and its parts. */
const [LONGEST_PATH, MOST_PARTS, LONGEST_PART] = [1_024, 20, 255]

export interface StoreCreate {
  name: string
  description?: string | undefined
  metadata?: Record<string, string> | undefined
}

/** What is left out stays as it is. */
export interface StoreUpdate {
  name?: string | null | undefined
  description?: string | null | undefined
  metadata?: MetadataPatch | undefined
}

export interface MemoryCreate {
  path: string
  content: string
}

export interface MemoryUpdate {
  path?: string | null | undefined
  content?: string | null | undefined
  precondition?: { type: 'content_sha256'; content_sha256?: string | undefined } | undefined
}

/** Says what is wrong with the path of a memory; undefined: nothing. */
export function pathProblem(path: string): string | undefined {
  const parts = path.split('/').slice(1)
  if (!path.startsWith('/') || parts.some((part) => part === '' || part === '.' || part === '..'))
    return 'must begin with "/" and have no empty parts, "." or ".."'
  if (parts.length > MOST_PARTS) return `has more than ${MOST_PARTS} parts`
  if (Buffer.byteLength(path) > LONGEST_PATH || parts.some((part) => Buffer.byteLength(part) > LONGEST_PART))
    return `has more than ${LONGEST_PATH} bytes, or a part more than ${LONGEST_PART}`
  if (/[\p{Cc}\p{Cf}\u2028\u2029\\]/u.test(path) || !path.isWellFormed())
    return 'has characters that do not belong in a path'
  if (path.normalize('NFC') !== path) return 'must be in Unicode normalization form C'
  return undefined
}

const path = z.string().superRefine((value, context) => {
  const problem = pathProblem(value)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

const content = z
  .string()
  .refine((text) => Buffer.byteLength(text) <= MAX_CONTENT, `has more than ${MAX_CONTENT} bytes`)
  .refine((text) => text.isWellFormed(), 'is not well-formed text')

export const sha256: z.ZodType<string> = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits')

const storeName = z
  .string()
  .min(1)
  .max(255)
  .refine((name) => !/\p{Cc}/u.test(name), 'has control characters')

export const storeCreate: z.ZodType<StoreCreate> = z.strictObject({
  name: storeName,
  description: z.string().max(1_024).optional(),
  metadata: metadata.optional(),
})

export const storeUpdate: z.ZodType<StoreUpdate> = z.strictObject({
  name: storeName.nullish(),
  description: z.string().max(1_024).nullish(),
  metadata: metadataPatch.optional(),
})

export const memoryCreate: z.ZodType<MemoryCreate> = z.strictObject({
  path,
  content: content.nullable().transform((text) => text ?? ''),
})

export const memoryUpdate: z.ZodType<MemoryUpdate> = z.strictObject({
  path: path.nullish(),
  content: content.nullish(),
  precondition: z.strictObject({ type: z.literal('content_sha256'), content_sha256: sha256.optional() }).optional(),
})
