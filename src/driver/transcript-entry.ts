/** One line of a transcript; undefined for the last one of a process that was killed as it wrote, or that is writing it. */
export function parseEntry<Entry extends object>(line: string): Entry | undefined {
  try {
    return JSON.parse(line) as Entry
  } catch {
    return undefined
  }
}
