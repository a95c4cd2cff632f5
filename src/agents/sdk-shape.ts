import { z } from 'zod'
import { sdkDeclares } from '../options/sdk-types.ts'
import { validate } from '../options/section.ts'

/** Complete for the SDK this release was built with: the type sees to it. */
export type Shape<T> = Record<keyof T, z.ZodType>

export const text: z.ZodType<string> = z.string().min(1)
export const texts: z.ZodType<string[]> = z.array(z.string())
export const yesNo: z.ZodType<boolean | undefined> = z.boolean().optional()
export const number: z.ZodType = z.number().optional()
export const anything: z.ZodType = z.unknown().optional()
export const maps: z.ZodType<Record<string, unknown>> = z.record(z.string(), z.unknown())

export const callback: z.ZodType = z.custom((value) => typeof value === 'function', {
  error: 'must be a function, which only a config of code can have (.ts, .mts, .js, .mjs)',
})

export const oneOf = (...words: [string, ...string[]]): z.ZodType => z.enum(words).optional()

export const effort: z.ZodType = z
  .union([z.enum(['low', 'medium', 'high', 'xhigh', 'max']), z.number()], {
    error: 'must be one of: low, medium, high, xhigh, max, or a number',
  })
  .optional()

export const permissionMode: z.ZodType = oneOf('default', 'acceptEdits', 'bypassPermissions', 'plan', 'dontAsk', 'auto')

/** To build a schema takes longer than to use it. */
const strict = new WeakMap<object, z.ZodType>()

/** Reads a map whose names must be those of `shape`, or of this type of the installed SDK. Throws ConfigError. */
export function checkShape(path: string, value: unknown, shape: Record<string, z.ZodType>, type: string): void {
  const schema = strict.get(shape) ?? z.strictObject(shape)
  strict.set(shape, schema)
  validate(path, schema, value, (key) => sdkDeclares(type, key))
}
