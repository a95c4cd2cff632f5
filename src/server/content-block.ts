/** A content block of a user's message, or of a tool's result, as the Messages API has it. */
export type ContentBlock =
  | { type: 'text'; text: string }
  | { type: 'image'; source: { type: 'base64'; data: string; media_type: string } | { type: 'url'; url: string } }
  | {
      type: 'document'
      source:
        | { type: 'base64'; data: string; media_type: string }
        | { type: 'text'; data: string; media_type: 'text/plain' }
        | { type: 'url'; url: string }
      title?: string | null | undefined
      context?: string | null | undefined
    }
