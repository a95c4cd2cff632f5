/** One line of a transcript; undefined for anything else, such as the last one of a process that was killed as it wrote, or that is writing it. */
export function parseEntry<Entry extends object>(line: string): Entry | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Entry) : undefined
  } catch {
    return undefined
  }
}
