const QUOTE = 0x22
const BACKSLASH = 0x5c
const SMALL_U = 0x75

/** The closing bracket of each opening one. */
const CLOSERS: Readonly<Record<number, string>> = { 0x7b: '}', 0x5b: ']' }
const CLOSING = new Set(Buffer.from('}]'))

/** The characters of numbers, `true`, `false` and `null`. */
const LITERAL = new Set(Buffer.from('+-.0123456789Eaeflnrstu'))

/** Deeper JSON is not followed. */
const DEEPEST = 1_000

/** Marks the string in which a text was cut. */
const MARK = '… [cut short by the pool]'

/** What may come next, outside of strings. `literal`: a number or word has begun. */
type Expected = 'value' | 'key' | 'colon' | 'end' | 'literal'

/** Reads the beginning of a JSON text and knows what would complete it. */
export class OpenJson {
  readonly #closers: string[] = []
  #expected: Expected = 'value'
  #inString = false
  #isKey = false
  /** Characters that an escape still needs; `any` right after its backslash. */
  #escape: number | 'any' | undefined
  /** True if it is no JSON or too deep. */
  #lost = false

  read(bytes: Buffer): void {
    let backslash = -1
    for (let at = 0; at < bytes.length && !this.#lost; at += 1) {
      if (this.#inString && this.#escape === undefined) {
        // Most of a long text is in strings, in which only these two matter.
        const quote = bytes.indexOf(QUOTE, at)
        if (backslash < at) backslash = bytes.indexOf(BACKSLASH, at)
        if (backslash === -1) backslash = bytes.length
        at = Math.min(quote === -1 ? bytes.length : quote, backslash)
      }
      const byte = bytes[at]
      if (byte !== undefined) this.#take(byte)
    }
  }

  /** False if the text cannot end here, for example within a number. */
  get canEnd(): boolean {
    return !this.#lost && this.#escape === undefined && (this.#inString || this.#expected !== 'literal')
  }

  /** What completes the text, if it can end here. */
  get ending(): string {
    return [this.#end, ...this.#closers.toReversed()].join('')
  }

  get #end(): string {
    if (this.#inString) return `${MARK}"${this.#isKey ? ':null' : ''}`
    return { value: 'null', key: '"":null', colon: ':null', end: '', literal: '' }[this.#expected]
  }

  #take(byte: number): void {
    if (this.#inString) this.#takeInString(byte)
    else if (byte === QUOTE) {
      this.#inString = true
      this.#isKey = this.#expected === 'key'
    } else this.#takeOutside(byte)
  }

  #takeInString(byte: number): void {
    if (this.#escape === 'any') this.#escape = byte === SMALL_U ? 4 : undefined
    else if (this.#escape !== undefined) this.#escape = this.#escape === 1 ? undefined : this.#escape - 1
    else if (byte === BACKSLASH) this.#escape = 'any'
    else if (byte === QUOTE) {
      this.#inString = false
      this.#expected = this.#isKey ? 'colon' : 'end'
    }
  }

  #takeOutside(byte: number): void {
    const closer = CLOSERS[byte]
    if (closer !== undefined) this.#open(closer)
    else if (CLOSING.has(byte)) {
      this.#closers.pop()
      this.#expected = 'end'
    } else if (byte === 0x2c) this.#expected = this.#closers.at(-1) === '}' ? 'key' : 'value'
    else if (byte === 0x3a) this.#expected = 'value'
    else if (byte > 0x20) this.#takeLiteral(byte)
    else if (this.#expected === 'literal') this.#expected = 'end'
  }

  #takeLiteral(byte: number): void {
    this.#lost = !LITERAL.has(byte) || (this.#expected !== 'value' && this.#expected !== 'literal')
    this.#expected = 'literal'
  }

  #open(closer: string): void {
    this.#lost = this.#closers.length >= DEEPEST || this.#expected !== 'value'
    this.#closers.push(closer)
    this.#expected = closer === '}' ? 'key' : 'value'
  }
}
