import type { Journal, JournalListener, NumberedEvent } from './journal.ts'
import type { EventPreview } from './session-event.ts'

/** What `session.events()` gives: events with their numbers, and previews, which have none. */
export type JournalEntry = NumberedEvent | { number: undefined; event: EventPreview }

/** The events of a session as they come, for `for await`. */
export interface SessionEvents extends AsyncIterableIterator<JournalEntry, undefined, undefined> {
  /** The next entry, if it is already available, to send several together. If it is not, `next()` waits for it. */
  tryNext(): JournalEntry | undefined
}

/** What `session.events()` takes. */
export interface EventOptions {
  /** Starts after the event with this number. Default 0: with the first. */
  after?: number
  /** Goes on with events as they come; `false` ends after the last. Default `true`. */
  follow?: boolean
  /** Shows partial text, if the agent has `includePartialMessages`. Default `false`. */
  previews?: boolean
}

/** Where a reader gets its journal from, and what it tells when it does not need it any more. */
export interface EventSource {
  open(): Promise<{ journal: Journal; release: () => void }>
}

const PAGE = 200

/** Previews that wait for a reader. Beyond them it gets the rest of the event with the event itself. */
const MAX_PREVIEWS = 500

/** Reads the events of a session from any point, and follows them. It holds no more than a page of them. */
export class EventReader implements SessionEvents, JournalListener {
  readonly #source: EventSource
  readonly #follow: boolean
  readonly #wantsPreviews: boolean
  #position: number
  #opened: { journal: Journal; release: () => void } | undefined
  #page: NumberedEvent[] = []
  #previews: { after: number; event: EventPreview }[] = []
  /** The event whose previews go no further. */
  #cutShort: string | undefined
  #wake: (() => void) | undefined
  /** Something was added since the journal was looked at. */
  #news = false
  #left = false
  #failure: Error | undefined
  /** One after the other, also when a caller asks ahead. */
  #asked: Promise<unknown> = Promise.resolve()
  #asking = 0

  constructor(source: EventSource, options: EventOptions) {
    this.#source = source
    this.#position = options.after ?? 0
    this.#follow = options.follow ?? true
    this.#wantsPreviews = options.previews ?? false
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<JournalEntry, undefined>> {
    const next = this.#asking === 0 ? this.#next() : this.#asked.then(() => this.#next())
    this.#asking += 1
    const settled = (): void => void (this.#asking -= 1)
    this.#asked = next.then(settled, settled)
    return next
  }

  tryNext(): JournalEntry | undefined {
    return this.#asking === 0 ? this.#take() : undefined
  }

  async return(): Promise<IteratorResult<JournalEntry, undefined>> {
    this.#leave()
    return { done: true, value: undefined }
  }

  added(): void {
    this.#news = true
    this.#wake?.()
  }

  preview(after: number, event: EventPreview): void {
    if (!this.#wantsPreviews) return
    const id = event.type === 'event_start' ? event.event.id : event.event_id
    if (id === this.#cutShort) return
    if (this.#previews.length >= MAX_PREVIEWS) {
      this.#cutShort = id
      return
    }
    this.#previews.push({ after, event })
    this.added()
  }

  ended(error: Error): void {
    this.#failure = error
    this.added()
  }

  async #next(): Promise<IteratorResult<JournalEntry, undefined>> {
    try {
      const journal = this.#opened?.journal ?? (await this.#journal())
      for (;;) {
        if (this.#left || journal === undefined) return { done: true, value: undefined }
        this.#news = false
        if (this.#page.length === 0) this.#page = await this.#read(journal)
        const entry = this.#take()
        if (entry !== undefined) return { done: false, value: entry }
        if (this.#failure !== undefined) throw this.#failure
        if (this.#news) continue
        if (!this.#follow) this.#leave()
        else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } catch (error) {
      const left = this.#left
      this.#leave()
      if (left) return { done: true, value: undefined }
      throw error
    }
  }

  /** A reader that follows hears of events before they are shown; one that does not follow waits for them. */
  async #read(journal: Journal): Promise<NumberedEvent[]> {
    const shown = this.#follow ? journal.newest(this.#position) : undefined
    return shown ?? journal.page({ after: this.#position, limit: PAGE })
  }

  /** What comes next, if it is there. */
  #take(): JournalEntry | undefined {
    const next = this.#page.shift()
    if (next !== undefined) {
      this.#position = next.number
      const { id } = next.event
      if (this.#previews.length === 0) return next
      this.#previews = this.#previews.filter(
        ({ event }) => (event.type === 'event_start' ? event.event.id : event.event_id) !== id,
      )
      return next
    }
    const [preview] = this.#previews
    if (preview === undefined || preview.after > this.#position) return undefined
    this.#previews.shift()
    return { number: undefined, event: preview.event }
  }

  async #journal(): Promise<Journal | undefined> {
    if (this.#opened !== undefined || this.#left) return this.#opened?.journal
    const opened = await this.#source.open()
    this.#opened = opened
    opened.journal.follow(this)
    // It may have left while the session was looked up.
    if (this.#left) this.#leave()
    else await opened.journal.ready()
    return opened.journal
  }

  #leave(): void {
    this.#left = true
    this.added()
    const opened = this.#opened
    this.#opened = undefined
    opened?.journal.unfollow(this)
    opened?.release()
    this.#page = []
    this.#previews = []
  }
}
