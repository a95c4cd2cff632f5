import { Readable } from 'node:stream'
import { LineSplitter } from './line-splitter.ts'
import type { Piece } from './line-splitter.ts'
import type { Spool } from './spool.ts'

/** What may be under way to a reader that does not read: bounds the parsed messages in the host. */
const WINDOW_BYTES = 1024 * 1024

/** Held-back conversation stays in memory up to this; beyond, it goes to disk. */
const HELD_IN_MEMORY_BYTES = 1024 * 1024

/** What a process that has exited left in its pipe is taken beyond that: pipes hold less. */
const LEFT_IN_PIPE_BYTES = 2 * 1024 * 1024

/** A longer message is cut, such as a tool's structured content: the model API itself takes 32 MB at most. */
const LONGEST_LINE_BYTES = 48 * 1024 * 1024

/** A line that does not end within this is a flood. */
const LONGEST_CUT_LINE_BYTES = 512 * 1024 * 1024

/** A line may be passed on before its end is there, up to this: its reader gathers it in memory. */
const LONG_LINE_BYTES = 2 * 1024 * 1024

const NEWLINE = 10

/** Smaller buffers may be parts of one that Node shares out. */
const LARGEST_SHARED_BYTES = Buffer.poolSize

/**
 * Gives memory back at once. Buffers live outside of the heap, so the collector of garbage sees little of them and lets
 * them pile up: tens of megabytes in a large turn.
 */
function giveBack(buffers: readonly Buffer[]): void {
  for (const { buffer, byteLength } of buffers) {
    if (byteLength > LARGEST_SHARED_BYTES && byteLength === buffer.byteLength) (buffer as ArrayBuffer).transfer(0)
  }
}

export interface GateListeners {
  /** Bytes arrived from the process. */
  onOutput(): void
  /** The output breaks the protocol; the gate has closed itself. */
  onViolation(problem: string): void
  /** `holding` has changed. */
  onHolding?(holding: boolean): void
  /** A message was too long: only its beginning was passed on. */
  onCut(problem: string): void
}

/**
 * Stands between a process's stdout and the SDK, which would queue without bound. While its reader does not read, the
 * conversation waits: in a window, in memory, on disk, and last in the process's own pipe. Control lines overtake it.
 */
export class ConversationGate extends Readable {
  readonly #source: Readable
  readonly #spool: Spool
  readonly #listeners: GateListeners
  readonly #lines = new LineSplitter(LONGEST_LINE_BYTES)
  #inFlightBytes = 0
  /** True between the pieces of a line that is being passed on: nothing may come between them. */
  #midLine = false
  /** Bytes passed on of the line that is being passed on. */
  #lineBytes = 0
  /** A long line waits for its end, and all that follows waits for the line. */
  #awaitsEnd = false
  #lateControl: Buffer[] = []
  /** What waits, oldest first: the rest of the chunk that was being released, the spool, then memory. */
  #front: Buffer | undefined
  #held: Buffer[] = []
  #heldBytes = 0
  /** The chunks of the source that `#held` is cut from. */
  #heldChunks: Buffer[] = []
  /** True when some of the chunk that is being received was held. */
  #chunkHeld = false
  /** One disk operation at a time: the one under way. Never rejects. */
  #step: Promise<void> | undefined
  #sourceEnded = false
  #sourceExited = false
  #finished = false
  /** What its listener was told last. */
  #toldHolding = false

  constructor(source: Readable, spool: Spool, listeners: GateListeners) {
    // Text is made of bytes as they are passed on, so that their memory is free from then on.
    super({ highWaterMark: WINDOW_BYTES, encoding: 'utf8' })
    this.#source = source
    this.#spool = spool
    this.#listeners = listeners
    source.on('data', (chunk: Buffer) => this.#receive(chunk))
    source.once('end', () => this.endOfSource())
    source.once('close', () => this.endOfSource())
  }

  /** True while some of the conversation waits for its reader. */
  get holding(): boolean {
    return this.#anythingWaits && !this.#awaitsEnd
  }

  get #anythingWaits(): boolean {
    return this.#front !== undefined || this.#heldBytes > 0 || this.#spool.pendingBytes > 0
  }

  get #heldLimit(): number {
    return HELD_IN_MEMORY_BYTES + (this.#sourceExited ? LEFT_IN_PIPE_BYTES : 0)
  }

  get #open(): boolean {
    return !this.#awaitsEnd && (this.#midLine || this.#inFlightBytes < WINDOW_BYTES)
  }

  /** The reader has taken all it was given: the window opens again. */
  consumed(): void {
    this.#inFlightBytes = 0
    this.#advance()
  }

  /** The process has exited: what is left in its pipe is taken now, although there may be no place for it but memory. */
  sourceExited(): void {
    this.#sourceExited = true
    if (this.#heldBytes <= this.#heldLimit) this.#source.resume()
  }

  /** No more will come, even if something else still holds the pipe open. */
  endOfSource(): void {
    if (this.#sourceEnded) return
    this.#sourceEnded = true
    this.#awaitsEnd = false
    this.#source.destroy()
    this.#advance()
  }

  override _read(): void {
    // What bounds the flow is the window, not the stream's own buffer: its reader always reads.
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#source.destroy()
    // A file that is being opened or read would outlive the spool.
    void Promise.resolve(this.#step).then(() => {
      this.#front = undefined
      giveBack(this.#takeHeld().chunks)
      this.#spool.close().then(
        () => callback(error),
        (problem: unknown) => callback(error ?? (problem as Error)),
      )
    })
  }

  #receive(chunk: Buffer): void {
    this.#listeners.onOutput()
    this.#chunkHeld = false
    for (const piece of this.#lines.split(chunk)) {
      if (piece.cut === true) this.#listeners.onCut(`it said a message of more than ${LONGEST_LINE_BYTES} bytes`)
      if (piece.kind === 'control') this.#passControl(piece.bytes)
      else if (piece.kind === 'conversation') this.#passOrHold(piece)
    }
    if (this.#chunkHeld) this.#heldChunks.push(chunk)
    else giveBack([chunk])
    const limit = this.#lines.inNoise
      ? LONG_LINE_BYTES
      : this.#lines.skipping
        ? LONGEST_CUT_LINE_BYTES
        : LONGEST_LINE_BYTES
    if (this.#lines.lineBytes > limit) {
      this.#listeners.onViolation(`it wrote a line of more than ${limit} bytes`)
      this.destroy()
      return
    }
    if (this.#heldBytes > this.#heldLimit) this.#source.pause()
    if (this.#heldBytes > HELD_IN_MEMORY_BYTES) this.#advance()
    this.#tellHolding()
  }

  #tellHolding(): void {
    const { holding } = this
    if (holding === this.#toldHolding) return
    this.#toldHolding = holding
    this.#listeners.onHolding?.(holding)
  }

  #passControl(line: Buffer): void {
    if (this.#midLine) this.#lateControl.push(Buffer.from(line))
    else this.push(line)
  }

  #passOrHold({ bytes, endsLine }: Piece): void {
    if (endsLine && this.#awaitsEnd) {
      this.#awaitsEnd = false
      this.#hold(bytes)
      this.#advance()
    } else if (!this.#open || this.#anythingWaits || this.#step !== undefined) {
      this.#hold(bytes)
    } else if (!endsLine && this.#lineBytes >= LONG_LINE_BYTES) {
      this.#awaitsEnd = true
      this.#hold(bytes)
    } else {
      this.#pass(bytes, endsLine)
    }
  }

  #hold(bytes: Buffer): void {
    this.#held.push(bytes)
    this.#chunkHeld = true
    this.#heldBytes += bytes.length
  }

  #pass(bytes: Buffer, endsLine: boolean): void {
    this.#inFlightBytes += bytes.length
    this.#midLine = !endsLine
    this.#lineBytes = endsLine ? 0 : this.#lineBytes + bytes.length
    this.push(bytes)
    if (!endsLine || this.#lateControl.length === 0) return
    for (const line of this.#lateControl.splice(0)) this.push(line)
  }

  /** Moves what waits one step on, and again until nothing can move. */
  #advance(): void {
    if (this.#step !== undefined || this.destroyed) return
    const step = this.#nextStep()
    if (step === undefined) {
      this.#tellHolding()
      if (this.#sourceEnded && !this.#anythingWaits && !this.#finished) {
        this.#finished = true
        this.push(null)
      }
      return
    }
    this.#step = step.then(
      () => {
        this.#step = undefined
        this.#advance()
      },
      (problem: Error) => {
        this.#step = undefined
        this.#listeners.onViolation(`its output could not be kept on disk: ${problem.message}`)
        this.destroy()
      },
    )
  }

  #nextStep(): Promise<void> | undefined {
    // With the disk full the rest of a long line has no place but its reader's memory.
    if (this.#spool.full) this.#awaitsEnd = false
    const open = this.#open
    if (open && this.#front !== undefined) return this.#releaseFront()
    if (open && this.#spool.pendingBytes > 0) return this.#readBack()
    if (this.#spool.pendingBytes === 0 && open && this.#heldBytes > 0) {
      const { pieces, chunks } = this.#takeHeld()
      this.#front = Buffer.concat(pieces)
      giveBack(chunks)
      return this.#releaseFront()
    }
    if (this.#heldBytes > HELD_IN_MEMORY_BYTES && !this.#spool.full) return this.#spill()
    if (this.#source.isPaused() && this.#heldBytes <= HELD_IN_MEMORY_BYTES) this.#source.resume()
    return undefined
  }

  async #spill(): Promise<void> {
    const { pieces, chunks } = this.#takeHeld()
    await this.#spool.write(...pieces)
    giveBack(chunks)
  }

  async #readBack(): Promise<void> {
    this.#front = await this.#spool.read()
  }

  /** Passes on line by line until the window is full. */
  #releaseFront(): Promise<void> {
    const bytes = this.#front
    this.#front = undefined
    if (bytes === undefined) return Promise.resolve()
    let start = 0
    while (start < bytes.length && (this.#midLine || this.#inFlightBytes < WINDOW_BYTES)) {
      const newline = bytes.indexOf(NEWLINE, start)
      const end = newline === -1 ? bytes.length : newline + 1
      this.#pass(bytes.subarray(start, end), newline !== -1)
      start = end
    }
    if (start < bytes.length) this.#front = bytes.subarray(start)
    return Promise.resolve()
  }

  #takeHeld(): { pieces: Buffer[]; chunks: Buffer[] } {
    const taken = { pieces: this.#held, chunks: this.#heldChunks }
    this.#held = []
    this.#heldChunks = []
    this.#heldBytes = 0
    return taken
  }
}
