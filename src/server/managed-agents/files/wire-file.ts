/** A file as the wire shows it. */
export interface WireFile {
  type: 'file'
  id: string
  filename: string
  mime_type: string
  size_bytes: number
  created_at: string
  downloadable: true
  expires_at: string | null
  scope: { type: 'session'; id: string } | null
}
