import { ApiError } from '../errors.ts'

/** What a JSON text may hold beside its bytes. Parsing costs time and memory by these. */
export interface JsonLimits {
  /** Arrays and objects in one another. */
  depth: number
  /** Keys of all objects together. */
  keys: number
  /** Elements, members, arrays and objects together. */
  values: number
}

/** A distinct key costs some 2 µs to parse, any other value a tenth of that. */
const JSON_LIMITS: JsonLimits = { depth: 100, keys: 50_000, values: 250_000 }

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** Counts what a JSON text holds as it arrives, before anything is parsed. It does not judge whether the text is valid. */
export class JsonScan {
  readonly #limits: JsonLimits
  #inString = false
  /** The last byte was a backslash that escapes the next one. */
  #escaped = false
  #depth = 0
  #keys = 0
  #values = 0

  constructor(limits: JsonLimits = JSON_LIMITS) {
    this.#limits = limits
  }

  /** Throws ApiError (invalid_request_error) when the text has exceeded a limit. */
  push(piece: Uint8Array): void {
    let at = 0
    while (at < piece.length) at = this.#inString ? this.#passString(piece, at) : this.#passStructure(piece, at)
    const { depth, keys, values } = this.#limits
    if (this.#keys > keys) refuse(`has more than ${keys} keys`)
    if (this.#values > values) refuse(`has more than ${values} values`)
    if (this.#depth > depth) refuse(`has more than ${depth} levels of arrays and objects`)
  }

  /** Passes what is inside of a string; where that ends, or the piece. */
  #passString(piece: Uint8Array, start: number): number {
    let from = start
    if (this.#escaped) {
      this.#escaped = false
      from += 1
    }
    for (;;) {
      const quote = piece.indexOf(QUOTE, from)
      const end = quote === -1 ? piece.length : quote
      let backslashes = 0
      while (end - backslashes > from && piece[end - backslashes - 1] === BACKSLASH) backslashes += 1
      const escapes = backslashes % 2 === 1
      if (quote === -1) {
        this.#escaped = escapes
        return piece.length
      }
      from = quote + 1
      if (escapes) continue
      this.#inString = false
      return from
    }
  }

  #passStructure(piece: Uint8Array, start: number): number {
    for (let at = start; at < piece.length; at += 1) {
      switch (piece[at]) {
        case QUOTE:
          this.#inString = true
          return at + 1
        case COLON:
          this.#keys += 1
          break
        case COMMA:
          this.#values += 1
          break
        case OPEN_ARRAY:
        case OPEN_OBJECT:
          this.#values += 1
          this.#depth += 1
          // A piece may open and close more than is allowed.
          if (this.#depth > this.#limits.depth) return piece.length
          break
        case CLOSE_ARRAY:
        case CLOSE_OBJECT:
          this.#depth -= 1
          break
        default:
      }
    }
    return piece.length
  }
}

function refuse(problem: string): never {
  throw new ApiError('invalid_request_error', `the body ${problem}; send less in one request`)
}
