import { readFile, writeFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import type { Options } from '../../../src/driver/driver.ts'
import { METHOD_CASES } from './method-cases.ts'
import { OPTION_CASES } from './option-cases.ts'
import type { OptionCase } from './option-cases.ts'
import { ending, openSides, prompts } from './sides.ts'
import type { Handed, Side } from './sides.ts'
import type { Story } from './story.ts'
import { withTable } from './table.ts'
import type { Row } from './table.ts'

const page = new URL('../../../docs/query.md', import.meta.url)

const OPTIONS = Object.entries(OPTION_CASES) as [string, OptionCase][]
const METHODS = Object.entries(METHOD_CASES)

const handedOver = OPTIONS.flatMap(([name, theCase]) => ('value' in theCase ? [{ name, ...theCase }] : []))
const told = [...OPTIONS, ...METHODS].flatMap(([name, theCase]) => ('story' in theCase ? [{ name, ...theCase }] : []))
const stories = [...new Set<Story>(told.map(({ story }) => story))]

/** How many options and methods were compared. */
let compared = 0

/** Both do the same, or what was said about why they do not. */
function compare({ name, differs }: { name: string; differs?: string }, sdk: unknown, pool: unknown): void {
  if (differs === undefined) expect.soft(pool, `${name}: what pool.query() does`).toEqual(sdk)
  else expect.soft(pool, `${name} no longer differs`).not.toEqual(sdk)
  compared += 1
}

const inBoth = async <T>(work: (side: Side) => Promise<T>): Promise<[T, T]> => {
  const [sdk, pool] = await openSides()
  return Promise.all([work(sdk), work(pool)])
}

test('An option reaches the process of pool.query() as that of query(), and so does its absence', async () => {
  const given = (apart: boolean): Options =>
    Object.fromEntries(handedOver.filter((it) => (it.apart === true) === apart).map(({ name, value }) => [name, value]))
  const mcpServers: Options['mcpServers'] = { shop: { command: 'true' } }
  const [sdk, pool] = await inBoth(async (side) => {
    for (const options of [given(false), given(true), {}])
      await ending(side.query(prompts('one'), { ...options, mcpServers }))
    const [together, apart, nothing] = (await side.handed()) as [Handed, Handed, Handed]
    return handedOver.map((it) => side.plain([it.shows(it.apart === true ? apart : together), it.shows(nothing)]))
  })
  for (const [at, it] of handedOver.entries()) {
    const shows = [sdk[at], pool[at]].some((shown) => {
      const [withIt, withoutIt] = shown as [unknown, unknown]
      return withIt !== undefined && !isDeepStrictEqual(withIt, withoutIt)
    })
    expect.soft(shows, `${it.name} shows`).toBe(true)
    compare(it, sdk[at], pool[at])
  }
})

test.each(stories)('pool.query() does what query() does, or is said not to, where $name', async ({ tell }) => {
  const [sdk, pool] = await inBoth(tell)
  for (const it of told) {
    if (it.story.tell !== tell) continue
    const of = (outcome: Record<string, unknown>): unknown[] => it.parts.map((part) => outcome[part])
    compare(it, of(sdk), of(pool))
  }
})

afterAll(async () => {
  // A run of some tests says nothing of the page.
  if (compared < OPTIONS.length + METHODS.length) return
  const row = ([name, { differs }]: [string, { differs?: string }]): Row => ({ name, differs })
  const text = await readFile(page, 'utf8')
  const made = withTable(text, OPTIONS.map(row), METHODS.map(row))
  if (process.env['UPDATE_DOCS'] === '1') await writeFile(page, made)
  else if (text !== made) throw new Error('docs/query.md is not what these tests say: run them with UPDATE_DOCS=1')
})
