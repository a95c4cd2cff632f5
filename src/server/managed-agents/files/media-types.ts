/** Of files that come without a type, by the ends of their names. */
const TYPES: Readonly<Record<string, string>> = {
  csv: 'text/csv',
  gif: 'image/gif',
  gz: 'application/gzip',
  htm: 'text/html',
  html: 'text/html',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  json: 'application/json',
  md: 'text/markdown',
  pdf: 'application/pdf',
  png: 'image/png',
  svg: 'image/svg+xml',
  txt: 'text/plain',
  webp: 'image/webp',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  xml: 'application/xml',
  yaml: 'application/yaml',
  yml: 'application/yaml',
  zip: 'application/zip',
}

export const UNKNOWN = 'application/octet-stream'

/** The type of a file of this name. */
export const typeOf = (name: string): string =>
  TYPES[/\.(?<end>\w+)$/.exec(name)?.groups?.['end']?.toLowerCase() ?? ''] ?? UNKNOWN
