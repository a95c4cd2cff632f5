import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import * as server from '../../src/server/index.ts'
import * as simulator from '../../src/simulator/server.ts'
import * as testing from '../../src/testing/index.ts'
import * as pool from '../../src/index.ts'

const project = resolve(import.meta.dirname, '../..')

test('docs/reference says what the exported types say: npm run reference writes it again', async () => {
  const script = join(project, 'scripts/reference.ts')
  const { stderr } = await promisify(execFile)(process.execPath, [script, '--check'], { cwd: project }).catch(
    (failure: { stderr: string }) => failure,
  )
  expect(stderr).toBe('')
})

describe.each([
  ['pool.md', pool],
  ['server.md', server],
  ['simulator.md', simulator],
  ['testing.md', testing],
])('docs/reference/%s', async (page, exported) => {
  const text = await readFile(join(project, 'docs/reference', page), 'utf8')
  const [own = ''] = text.split('\n## Types without an export\n')
  const sections = own.split(/^### /m).slice(1)

  test('has every name that exists at run time', () => {
    const names = sections.map((section) => section.slice(0, section.indexOf('\n')))
    expect(Object.keys(exported).filter((name) => !names.includes(name))).toEqual([])
  })

  test('says of every exported name what it is, and shows its signature', () => {
    const [withDoc, withCode] = [/^\w+\n\n(?!```)\S/, /\n```ts\n(?:declare |interface |type )/]
    expect(sections.length).toBeGreaterThan(5)
    expect(sections.filter((section) => !withDoc.test(section)).map((section) => section.split('\n')[0])).toEqual([])
    expect(sections.filter((section) => !withCode.test(section)).map((section) => section.split('\n')[0])).toEqual([])
  })

  test('shows no private member and no part that only the package makes', () => {
    expect(text.match(/#private|^ +private .*/gm)).toBe(null)
    expect(text.match(/\b(?:PoolParts|SessionHost)\b/)).toBe(null)
  })
})
