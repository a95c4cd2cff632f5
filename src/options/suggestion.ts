/** The end of a sentence that has no use for `key`: the known key that was probably meant, if there is one. */
export function suggestionFor(key: string, words: readonly string[]): string {
  const near = words
    .filter((known) => isMisspelt(key, known) || (key.length > 3 && (known.startsWith(key) || key.startsWith(known))))
    .toSorted((a, b) => distance(a, key) - distance(b, key))
  return near[0] === undefined ? '' : `; did you mean ${near[0]}?`
}

/** Whether a word differs from a known one by its case or by two letters at most; a short one by one. */
export const isMisspelt = (key: string, known: string): boolean =>
  known.toLowerCase() === key.toLowerCase() ||
  (key.length > 2 && Math.abs(key.length - known.length) <= 2 && distance(known, key) <= (key.length > 3 ? 2 : 1))

/** Levenshtein distance, for spelling mistakes. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 0; i < a.length; i += 1) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j += 1) {
      next.push(Math.min((row[j] ?? 0) + (a[i] === b[j] ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
