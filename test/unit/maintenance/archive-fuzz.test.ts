import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFailed, test } from 'vitest'
import { codeOf, exported, from } from '../../fixtures/file-work.ts'
import { fakes, keys, used } from '../../fixtures/fakes.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

/** By hand: `FUZZ_ARCHIVES=10000 FUZZ_SEED=7`. */
const ARCHIVES = Number(process.env['FUZZ_ARCHIVES'] ?? 150)
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_131)

/** Each archive comes back, or is refused with one of these. */
const ANSWERS = ['done', 'bad_archive', 'session_conflict', 'bad_config', 'files_failed', 'disk_full']

type Json = Record<string, unknown>

/** One change to an archive, from which it may be no archive any more. */
type Change = (lines: readonly string[]) => string[]

const HOSTILE_NAMES = [
  '../x',
  '../../../../outside/secret',
  '/outside/secret',
  'a/../../x',
  'link/x',
  'link',
  'folder',
  'folder/x',
  '.',
  '..',
  '',
  'a//b',
  'a\0b',
  'CON',
  '.claude.json',
  `${'d/'.repeat(120)}x`,
  'n'.repeat(300),
  '\u{1f600}',
  '__proto__',
]
const HOSTILE_TARGETS = [
  '/etc',
  '../../../outside',
  '../../../../outside/secret',
  '.',
  'link',
  'folder',
  '\0',
  '',
  'x'.repeat(5_000),
]

const name = fc.constantFrom(...HOSTILE_NAMES, 'file', 'new')
const target = fc.constantFrom(...HOSTILE_TARGETS)
/** Mostly what is right, so that what is wrong beside it is reached. */
const mostly = <T>(right: T, ...wrong: readonly T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 8, arbitrary: fc.constant(right) }, { weight: 1, arbitrary: fc.constantFrom(...wrong) })

const mode = mostly(0o600, 0, 0o777, 0o6777, -1, 2 ** 40, 1.5)
const data = mostly('eA==', '', 'not base64!', 'eA==\n', 'A'.repeat(70_000))
const root = mostly('workspace', 'transcript', 'elsewhere')

const file = fc.record({ file: fc.record({ in: root, name, mode, data }) })
const bytes = mostly(4_096, 0, 1, -1, 2 ** 33, 2 ** 53)
const item: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: file },
  { weight: 1, arbitrary: fc.record({ hole: fc.record({ in: root, name, mode, bytes }) }) },
  { weight: 3, arbitrary: fc.record({ link: fc.record({ name, target }) }) },
  { weight: 1, arbitrary: fc.record({ end: fc.record({ lines: fc.integer() }) }) },
  { weight: 1, arbitrary: fc.json().map((text) => JSON.parse(text) as unknown) },
)

/** Which line; the first one says what the archive is. */
const at = fc.integer({ min: 1, max: 40 })

/** Lines that were not there, a link and what is to go through it among them. */
const additions = fc.tuple(at, fc.array(item, { minLength: 1, maxLength: 3 })).map<Change>(
  ([number, items]) =>
    (lines) =>
      lines.toSpliced(number % (lines.length + 1), 0, ...items.map((added) => JSON.stringify(added))),
)
const omission = at.map<Change>((number) => (lines) => lines.toSpliced(number % (lines.length + 1), 1))
const repetition = fc.tuple(at, at).map<Change>(
  ([number, to]) =>
    (lines) =>
      lines.toSpliced(to % (lines.length + 1), 0, ...lines.slice(number, number + 1)),
)
const damage = fc.tuple(fc.nat(40), fc.nat(400), fc.string({ maxLength: 5 })).map<Change>(
  ([number, cut, text]) =>
    (lines) =>
      lines.map((line, index) =>
        index === number % lines.length ? line.slice(0, cut) + text + line.slice(cut + 1) : line,
      ),
)

const FIELDS = ['tenant', 'key', 'agent', 'cwd', 'ownsCwd', 'sdkSessionId', 'begun', 'turns', 'usage', 'uid', 'extra']
const value = fc.oneof(
  fc.constantFrom(...HOSTILE_NAMES, null, true, -1, 1e300),
  fc.json().map((text) => JSON.parse(text) as unknown),
)

/** Another value in the record of the session. */
const claim = fc.tuple(fc.constantFrom(...FIELDS), value).map<Change>(([field, claimed]) => ([first = '', ...rest]) => {
  try {
    const header = JSON.parse(first) as { record: Json }
    return [JSON.stringify({ ...header, record: { ...header.record, [field]: claimed } }), ...rest]
  } catch {
    return [first, ...rest]
  }
})

const change = fc.oneof(
  { weight: 6, arbitrary: additions },
  { weight: 1, arbitrary: omission },
  { weight: 1, arbitrary: repetition },
  { weight: 1, arbitrary: damage },
  { weight: 2, arbitrary: claim },
)

/** Names the right number of lines at the end: so what comes before is read. */
const ended = (lines: readonly string[]): string[] => {
  const kept = lines.filter((line) => !line.startsWith('{"end"'))
  return [...kept, JSON.stringify({ end: { lines: kept.length + 1 } })]
}

/** Everything below a folder with what it is, and the text of what lies outside of the data directory. */
const treeOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => {
      const found = lstatSync(join(folder, path))
      const content = found.isSymbolicLink()
        ? readlinkSync(join(folder, path))
        : found.isFile()
          ? readFileSync(join(folder, path), 'utf8')
          : ''
      return `${path} ${found.mode} ${content}`
    })
    .toSorted()

test(
  `${ARCHIVES} archives that somebody has changed come back whole or are refused by name, and write nothing elsewhere`,
  { timeout: Math.max(60_000, ARCHIVES * 400) },
  async () => {
    const top = await temporaryFolder()
    const dataDir = join(top, 'data')
    const outside = join(top, 'outside')
    mkdirSync(outside)
    writeFileSync(join(outside, 'secret'), 'secret')
    const there = await fakes()
    const { cwd = '' } = await (await used(there, 'k')).info()
    writeFileSync(join(cwd, 'file'), 'x'.repeat(100))
    mkdirSync(join(cwd, 'folder'))
    writeFileSync(join(cwd, 'folder', 'deep'), 'y')
    symlinkSync('folder/deep', join(cwd, 'link'))
    const lines = (await exported(there.pool, 'k')).map((line) => line.trimEnd())
    const here = await fakes({ dataDir })
    await used(here, 'bystander', { tenant: 'other' })
    const bystander = treeOf(join(dataDir, 'tenants', 'other'))
    const answers = new Map<string, number>()
    let about = 'the first archive'
    onTestFailed(() => void process.stderr.write(`It came to ${about}\n`))
    const archive = fc.tuple(fc.array(change, { minLength: 1, maxLength: 3 }), mostly(true, false))
    for (const [index, [changes, isEnded]] of fc.sample(archive, { numRuns: ARCHIVES, seed: SEED }).entries()) {
      const changed = changes.reduce<string[]>((before, next) => next(before), lines)
      const text = (isEnded ? ended(changed) : changed).map((line) => `${line}\n`)
      about = `archive ${index} of seed ${SEED}: ${text.join('').slice(0, 3_000)}`
      const before = await keys(here)
      const key = `copy-${index}`
      const code = await codeOf(here.pool.importSession(from(text), { tenant: 'default', key }))
      answers.set(code, (answers.get(code) ?? 0) + 1)
      expect(ANSWERS).toContain(code)
      if (code === 'done') await (await here.pool.session(key)).delete()
      expect(await keys(here)).toEqual(before)
      expect(treeOf(outside)).toEqual([`secret ${lstatSync(join(outside, 'secret')).mode} secret`])
      expect(readdirSync(top).toSorted()).toEqual(['data', 'outside'])
    }
    expect(treeOf(join(dataDir, 'tenants', 'other'))).toEqual(bystander)
    const left = readdirSync(join(dataDir, 'tenants', 'default'), { recursive: true, encoding: 'utf8' })
    expect(left.filter((path) => path.includes(`workspaces${sep}`) || path.endsWith('.jsonl'))).toEqual([])
    // It must have come further than the first check, to mean anything.
    expect(answers.get('done') ?? 0).toBeGreaterThan(ARCHIVES / 50)
    expect(answers.get('bad_archive') ?? 0).toBeGreaterThan(ARCHIVES / 10)
  },
)
