/**
 * PostgreSQL takes no NUL in text, and UTF-8 has no lone surrogates. JSON has words for both; what the pool names itself is the
 * same with and without them.
 */
export const escape = (text: string): string => JSON.stringify(text).slice(1, -1)

export const unescape = (text: string): string => JSON.parse(`"${text}"`) as string
