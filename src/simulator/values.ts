/** A directive that cannot be read. Its message shows the form that is expected. */
export class BadDirective extends Error {}

const MiB = 1024 * 1024
const BYTES_PER_UNIT: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 1024,
  MIB: MiB,
  GIB: 1024 * MiB,
}

/** The longest string that a JSON answer can hold safely is half a gigabyte. */
const MAX_TEXT_BYTES: number = 256 * MiB

/** The arguments of one directive, read from left to right. Every problem names the directive's form. */
export class Values {
  /** Everything after the directive's name. */
  readonly rest: string
  readonly #form: string
  readonly #words: string[]

  constructor(form: string, rest: string) {
    this.#form = form
    this.rest = rest
    this.#words = rest === '' ? [] : rest.split(/\s+/)
  }

  /** The error for arguments that are not as they should be. */
  bad(problem: string): BadDirective {
    const [name = ''] = this.#form.split(' ')
    return new BadDirective(`"${`${name} ${this.rest}`.trim()}": ${problem}; write it as "${this.#form}"`)
  }

  /** The text after the name. Not empty. */
  text(): string {
    if (this.rest === '') throw this.bad('something is missing')
    return this.rest
  }

  /** The next word, as a whole number from 0 to `max`. */
  number(max: number): number {
    return this.#number(this.#words.shift(), max)
  }

  /** The next word, as a size from 1 byte to `MAX_TEXT_BYTES`. */
  size(): number {
    return this.#size(this.#words.shift())
  }

  /** The number after the word `name`, when it is there. */
  namedNumber(name: string, max: number): number | undefined {
    const value = this.#named(name)
    return value === undefined ? undefined : this.#number(value, max)
  }

  /** The size after the word `name`, when it is there. */
  namedSize(name: string): number | undefined {
    const value = this.#named(name)
    return value === undefined ? undefined : this.#size(value)
  }

  /** Refuses what was not read. */
  end(): void {
    if (this.#words.length > 0) throw this.bad(`"${this.#words.join(' ')}" is too much`)
  }

  #named(name: string): string | undefined {
    const at = this.#words.indexOf(name)
    if (at === -1) return undefined
    const [, value] = this.#words.splice(at, 2)
    if (value === undefined) throw this.bad(`"${name}" needs a value`)
    return value
  }

  #number(word: string | undefined, max: number): number {
    const value = /^\d{1,15}$/.test(word ?? '') ? Number(word) : Number.NaN
    if (!(value <= max)) throw this.bad(`${word ?? 'nothing'} is not a whole number from 0 to ${max}`)
    return value
  }

  #size(word: string | undefined): number {
    const [, digits, unit = ''] = /^(\d{1,15})([a-z]*)$/i.exec(word ?? '') ?? []
    const bytes = Number(digits) * (BYTES_PER_UNIT[unit.toUpperCase()] ?? Number.NaN)
    if (!(bytes >= 1 && bytes <= MAX_TEXT_BYTES)) {
      throw this.bad(`${word ?? 'nothing'} is not a size from 1 to 256MiB, such as 64KiB`)
    }
    return bytes
  }
}
