/** A content block of a user's message, or of a tool's result, as the Messages API has it. `More`: sources that it does not have. */
type Block<More> =
  | { type: 'text'; text: string }
  | {
      type: 'image'
      source: { type: 'base64'; data: string; media_type: string } | { type: 'url'; url: string } | More
    }
  | {
      type: 'document'
      source:
        | { type: 'base64'; data: string; media_type: string }
        | { type: 'text'; data: string; media_type: 'text/plain' }
        | { type: 'url'; url: string }
        | More
      title?: string | null | undefined
      context?: string | null | undefined
    }

/** As agents get it. */
export type ContentBlock = Block<never>

/** An uploaded file, or one that an agent has written. */
export interface FileSource {
  type: 'file'
  file_id: string
}

/** As clients of the Managed Agents API send it. */
export type SentBlock = Block<FileSource>
