import { parseDocument } from 'yaml'
import { z } from 'zod'
import { wording } from '../../../options/wording.ts'
import { ApiError } from '../../errors.ts'

/** What a SKILL.md says of its skill. */
export interface SkillText {
  /** Undefined: the folder names it. */
  name: string | undefined
  description: string
  /** What follows the front matter. */
  instructions: string
}

/** Bytes of a SKILL.md. */
export const LONGEST_TEXT: number = 2 ** 18

const LONGEST_FRONT = 2 ** 15

/** How skills are called. */
export const SKILL_NAME: RegExp = /^[a-z0-9]+(?:-[a-z0-9]+)*$/

export const LONGEST_NAME = 64

/** The fields of the format. Fields for human readers are accepted, and not passed on. */
const front: z.ZodType<{ name?: string | undefined; description: string }> = z.strictObject({
  name: z.string().max(LONGEST_NAME).regex(SKILL_NAME, 'must be lower-case letters, digits and single "-"').optional(),
  description: z.string().trim().min(1).max(1_024),
  license: z.unknown().optional(),
  compatibility: z.unknown().optional(),
  metadata: z.unknown().optional(),
  'allowed-tools': z.unknown().optional(),
})

const FENCE = /^\uFEFF?---[ \t]*\r?\n([\s\S]*?)(?:^|\n)---[ \t]*(?:\r?\n|$)/

const invalid = (problem: string): ApiError => new ApiError('invalid_request_error', `SKILL.md: ${problem}`)

/** Reads a SKILL.md. Throws ApiError. */
export function readSkillText(data: Buffer): SkillText {
  const text = textOf(data)
  const [whole, head] = FENCE.exec(text) ?? []
  if (whole === undefined || head === undefined)
    throw invalid('must begin with "---", its name and description in YAML, and "---"')
  if (head.length > LONGEST_FRONT) throw invalid(`its front matter has more than ${LONGEST_FRONT} characters`)
  const document = parseDocument(head, { prettyErrors: false })
  const [problem] = [...document.errors, ...document.warnings]
  if (problem !== undefined) throw invalid(`its front matter is not YAML: ${problem.message}`)
  const parsed = front.safeParse(plain(document), { error: wording })
  if (!parsed.success) throw invalid(problemOf(parsed.error.issues[0]))
  return { name: parsed.data.name, description: parsed.data.description, instructions: text.slice(whole.length) }
}

function textOf(data: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data)
  } catch {
    throw invalid('is not text in UTF-8')
  }
}

function plain(document: ReturnType<typeof parseDocument>): unknown {
  try {
    return document.toJS({ maxAliasCount: 10 }) ?? {}
  } catch (error) {
    throw invalid(`its front matter cannot be read: ${(error as Error).message}`)
  }
}

function problemOf(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'unrecognized_keys')
    return `${issue.keys[0]} is no field that this server takes; it takes name, description, license, compatibility, metadata and allowed-tools`
  return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is not valid'}`
}

/**
 * The SKILL.md that processes read: its name and description alone. What else the front matter may say would give the agent
 * hooks and permissions that its definition does not.
 */
export const skillTextOf = (name: string, { description, instructions }: SkillText): string =>
  `---\nname: ${JSON.stringify(name)}\ndescription: ${JSON.stringify(description)}\n---\n${instructions}`
