/** One line of a transcript. Undefined if it is no entry: a kill or a full disk cuts lines short, and the CLI skips them, too. */
export function parseEntry<Entry extends object>(line: string): Entry | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Entry) : undefined
  } catch {
    return undefined
  }
}
