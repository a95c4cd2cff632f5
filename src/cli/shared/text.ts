import type { FileProblem } from '../../index.ts'

/** How wide a line may be: as the terminal is, or as COLUMNS says. A pipe or file takes any. */
export function columnsOf(stream: NodeJS.WriteStream): number {
  const said = Number(process.env['COLUMNS'])
  return stream.columns ?? (said > 0 ? said : Infinity)
}

/** Lines of at most `width` characters, broken between items; an item that is longer is broken where it must. */
export function pack(items: readonly string[], separator: string, width: number): string[] {
  const lines: string[] = []
  let line: string | undefined
  for (const item of items) {
    const joined: string = line === undefined ? item : `${line}${separator}${item}`
    if (joined.length <= width) {
      line = joined
      continue
    }
    if (line !== undefined) lines.push(line)
    line = item
    for (; line.length > width; line = line.slice(width)) lines.push(line.slice(0, width))
  }
  return line === undefined ? lines : [...lines, line]
}

/** The same for the words of a text. */
export const wrap = (text: string, width: number): string[] =>
  text.length <= width ? [text] : pack(text.split(' '), ' ', width)

/** Says what an operation has left alone, beside what it prints. */
export function tellProblems(what: string, problems: readonly FileProblem[]): void {
  for (const { path, detail } of problems) console.error(`${what}: ${path} ${detail}`)
}
