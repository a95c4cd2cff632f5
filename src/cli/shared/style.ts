import { styleText } from 'node:util'

/** How words look. Plain without a terminal or with NO_COLOR. */
export interface Style {
  dim: (text: string) => string
  bold: (text: string) => string
  red: (text: string) => string
  green: (text: string) => string
  inverse: (text: string) => string
}

type Format = Parameters<typeof styleText>[0]

/** The style of what is written to `stream`. */
export function styleOf(stream: NodeJS.WriteStream): Style {
  const coloured = stream.isTTY && stream.hasColors()
  const paint =
    (format: Format) =>
    (text: string): string =>
      coloured ? styleText(format, text, { validateStream: false }) : text
  return { dim: paint('dim'), bold: paint('bold'), red: paint('red'), green: paint('green'), inverse: paint('inverse') }
}

/** Text of others for a terminal: without the control characters that could move its cursor or change its title. */
export const printable = (text: string): string => text.replaceAll(/(?![\n\t])\p{Cc}/gu, '')

/** The first line of it, at most `width` characters. */
export function brief(text: string, width: number): string {
  const [line = '', ...more] = text.trim().split('\n')
  return line.length > width || more.length > 0 ? `${line.slice(0, width - 1)}…` : line
}
