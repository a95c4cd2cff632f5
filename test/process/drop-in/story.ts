import type { Side } from './sides.ts'

/** Queries that show what several options or methods do. Both sides are told the same story. */
export interface Story<Part extends string = string> {
  name: string
  tell: (side: Side) => Promise<Record<Part, unknown>>
}

/** The parts of a story's outcome that show what one option or method does. */
export interface Seen {
  story: Story
  parts: readonly string[]
}

export const seen = <Part extends string>(story: Story<Part>, ...parts: readonly [Part, ...Part[]]): Seen => ({
  story,
  parts,
})
