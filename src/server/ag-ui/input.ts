import type { ContentPart, Message, RunAgentInput } from '@ag-ui/core'
import { RunAgentInputSchema } from '@ag-ui/core/schemas'
import type { MessageContent, TurnInput } from '../../index.ts'
import { bodyOf } from '../json-body.ts'
import { ApiError } from '../errors.ts'
import type { Answer, Question } from '../questions.ts'

const IMAGE_TYPES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'] as const

const refuse = (problem: string): never => {
  throw new ApiError('invalid_request_error', problem)
}

/** Reads the body of a run. Throws ApiError (invalid_request_error). */
export function readRun(request: Request): RunAgentInput {
  const read = RunAgentInputSchema.safeParse(bodyOf(request))
  if (read.success) return read.data as RunAgentInput
  const [issue] = read.error.issues
  return refuse(`the body is no RunAgentInput: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'it is not valid'}`)
}

/**
 * The messages that the agent does not know: the user's, after the last answer and after the one that was sent last. The
 * protocol sends the whole history each time, of which the session has its own.
 */
export function newMessages(messages: readonly Message[], lastSent: string | undefined): Message[] {
  const answered = messages.findLastIndex(({ role }) => role !== 'user')
  const sent = messages.findLastIndex(({ id }) => id === lastSent)
  return messages.slice(Math.max(answered, sent) + 1)
}

/** The prompt of a run: what the user says, and the context that the front end gives with it. */
export function promptOf(messages: readonly Message[], { context }: Pick<RunAgentInput, 'context'>): TurnInput {
  const content = messages.flatMap((message) => (message.role === 'user' ? contentOf(message.content) : []))
  if (context.length === 0) return content
  const facts = context.map(({ description, value }) => `${description}: ${value}`).join('\n')
  return [{ type: 'text', text: `<context>\n${facts}\n</context>` }, ...content]
}

function contentOf(content: string | readonly ContentPart[]): MessageContent {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  return content.map((part): MessageContent[number] => {
    if (part.type === 'text') return { type: 'text', text: part.text }
    if (part.type !== 'image') return refuse(`messages: a part of type "${part.type}" is not supported`)
    const { source } = part
    if (source.type === 'url') return { type: 'image', source: { type: 'url', url: source.value } }
    if (source.type !== 'data') return refuse(`messages: an image by "${source.type}" is not supported`)
    const mediaType = IMAGE_TYPES.find((type) => type === source.mimeType)
    if (mediaType === undefined) return refuse(`messages: an image of type "${source.mimeType}" is not supported`)
    return { type: 'image', source: { type: 'base64', media_type: mediaType, data: source.value } }
  })
}

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
