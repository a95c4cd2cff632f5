import { omitOptionalNulls } from '@ag-ui/core'
import type { RunAgentInput, UserMessage } from '@ag-ui/core'
import { RunAgentInputSchema } from '@ag-ui/core/schemas'
import { wording } from '../../options/wording.ts'
import { bodyOf } from '../http/json-body.ts'
import { ApiError } from '../errors.ts'
import type { Answer, Question } from '../questions.ts'

/** Characters of an id that a message may have: it is kept with the session. */
const LONGEST_ID = 256

const refuse = (problem: string): never => {
  throw new ApiError('invalid_request_error', problem)
}

/** Reads the body of a run, also that of a client from before AG-UI 1.0. Throws ApiError (invalid_request_error). */
export function readRun(request: Request): RunAgentInput {
  const read = RunAgentInputSchema.safeParse(upgraded(bodyOf(request)), { error: wording })
  if (!read.success) {
    const [issue] = read.error.issues
    const problem = issue?.message ?? 'it is not valid'
    return refuse(`the body is no RunAgentInput: ${issue?.path.join('.') ?? ''}: ${problem}`)
  }
  const input = read.data as RunAgentInput
  const long = input.messages.findIndex(({ id }) => id.length > LONGEST_ID)
  if (long !== -1) return refuse(`messages.${long}.id: has more than ${LONGEST_ID} characters`)
  return input
}

/** What clients of before 1.0 send otherwise: `null` for what is not there, and attachments as `binary`. */
function upgraded(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || !Array.isArray((body as { messages?: unknown }).messages))
    return body
  const input = omitOptionalNulls(body as RunAgentInput, 'RunAgentInput')
  return { ...input, messages: input.messages.map(withoutBinary) }
}

interface Binary {
  type: 'binary'
  mimeType: string
  data?: string
  url?: string
  filename?: string
}

const isBinary = (part: unknown): part is Binary => {
  const { type, mimeType } = (part ?? {}) as Partial<Binary>
  return type === 'binary' && typeof mimeType === 'string'
}

function withoutBinary(message: RunAgentInput['messages'][number]): RunAgentInput['messages'][number] {
  const { content } = (message ?? {}) as { content?: unknown }
  if (!Array.isArray(content) || !content.some(isBinary)) return message
  // Clients of the transition send an attachment in both forms.
  const sent = new Set(content.filter((part) => !isBinary(part)).map(keyOf))
  const parts = (content as unknown[]).flatMap((part) => {
    if (!isBinary(part)) return [part]
    const upgradedPart = modern(part)
    return sent.has(keyOf(upgradedPart)) ? [] : [upgradedPart]
  })
  return { ...message, content: parts } as typeof message
}

function keyOf(part: unknown): string {
  const { type, source } = (part ?? {}) as { type?: string; source?: { value?: string } }
  return `${type} ${source?.value}`
}

function modern({ mimeType, data, url, filename }: Binary): object {
  const [kind = ''] = mimeType.split('/')
  const type = ['image', 'audio', 'video'].includes(kind) ? kind : 'document'
  const source =
    data === undefined || data === ''
      ? { type: 'url', value: url ?? '', mimeType }
      : { type: 'data', value: data, mimeType }
  return { type, source, ...(filename === undefined ? {} : { metadata: { filename } }) }
}

/** The context that a front end gives with a run, for the agent alone. */
export function contextOf({ context }: Pick<RunAgentInput, 'context'>): string[] {
  if (context === undefined || context.length === 0) return []
  const facts = context.map(({ description, value }) => `${description}: ${value}`).join('\n')
  return [`<context>\n${withoutClosing(facts)}\n</context>`]
}

/** What a page says must not look as if the context were over. */
const withoutClosing = (text: string): string => text.replaceAll(/<\/(context|system-reminder)/gi, '<\\/$1')

/** True for a message of the user. */
export const isUser = (message: RunAgentInput['messages'][number]): message is UserMessage => message.role === 'user'

/** What the front end's answer to an interrupt means. Only a clear yes is one. */
export function answerOf(question: Question, status: 'resolved' | 'cancelled', payload: unknown): Answer {
  const given = (typeof payload === 'object' && payload !== null ? payload : {}) as Record<string, unknown>
  const message = typeof given['message'] === 'string' ? { message: given['message'] } : {}
  if (status === 'cancelled') return { allow: false, ...message }
  if (question.kind === 'permission') return { allow: payload === true || given['approved'] === true, ...message }
  if (question.kind === 'question') return { allow: typeof given['answers'] === 'object', content: given, ...message }
  return { allow: true, content: given }
}

const approvalSchema = {
  type: 'object',
  properties: { approved: { type: 'boolean' }, message: { type: 'string' } },
  required: ['approved'],
}

/** What the payload of an answer looks like. */
export const schemaOf = ({ kind, schema }: Question): Record<string, unknown> =>
  kind === 'permission' ? approvalSchema : (schema ?? { type: 'object' })
