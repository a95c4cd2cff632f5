/** One block of a message's content. Only what the simulator reads has a type; other fields pass by. */
export interface Block {
  type: string
  text?: string
  content?: string | readonly Block[]
  [field: string]: unknown
}

/** One message of a request. Newer models get `system` messages among the others. */
export interface Message {
  role: string
  content: string | readonly Block[]
}

/** The part of a Messages API request that decides the answer. */
export interface ModelRequest {
  model: string
  messages: readonly Message[]
  stream?: boolean
  system?: unknown
  [field: string]: unknown
}

/** The API's error types, by the status that carries them. */
const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  500: 'api_error',
  529: 'overloaded_error',
}

/** The statuses that `@sim error` can answer with. */
export const ERROR_STATUSES: readonly number[] = Object.keys(ERROR_TYPES).map(Number)

/** The body of an error answer, in the API's own shape. */
export function errorBody(status: number, message: string, requestId: string): object {
  return { type: 'error', error: { type: ERROR_TYPES[status] ?? 'api_error', message }, request_id: requestId }
}

/** About four characters a token, as Anthropic's own rule of thumb has it; never less than one. */
export function tokensOf(characters: number): number {
  return Math.max(1, Math.ceil(characters / 4))
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

const isBlock = (value: unknown): boolean => isObject(value) && typeof value['type'] === 'string'

const isContent = (value: unknown): boolean =>
  typeof value === 'string' || (Array.isArray(value) && value.every((block) => isBlock(block)))

/** Says what is wrong with a request in the API's words, or nothing when it can be answered. */
export function requestProblem(body: unknown): string | undefined {
  if (!isObject(body)) return 'the body must be a JSON object'
  if (typeof body['model'] !== 'string') return 'model: Field required'
  const messages = body['messages']
  if (!Array.isArray(messages)) return 'messages: Field required'
  if (messages.length === 0) return 'messages: at least one message is required'
  const bad = messages.findIndex(
    (message) => !isObject(message) || typeof message['role'] !== 'string' || !isContent(message['content']),
  )
  return bad === -1 ? undefined : `messages.${bad}: role and content are required`
}
