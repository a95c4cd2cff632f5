import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const project = resolve(import.meta.dirname, '../..')
const FILES = ['package.json', 'package-lock.json', 'CHANGELOG.md', 'SECURITY.md', 'deploy/claude-agent-pool.service']
const ADDRESS = 'https://github.com/someone/claude-agent-pool'

/** The files that a release changes, in a folder of their own. */
async function checkout(): Promise<string> {
  const folder = await temporaryFolder()
  await mkdir(join(folder, 'deploy'))
  for (const file of FILES) await cp(join(project, file), join(folder, file))
  await writeFile(
    join(folder, 'CHANGELOG.md'),
    '# Changelog\n\n## Unreleased\n\n- Something new.\n\n## 0.1.0\n\n- All.\n',
  )
  return folder
}

const release = async (cwd: string, ...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
  promisify(execFile)(process.execPath, [join(project, 'scripts/release.ts'), ...words], { cwd }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )

describe('The step of a release', () => {
  test('fills in the version and every address, and the tree may be published then', async () => {
    const folder = await checkout()
    const text = (file: string): Promise<string> => readFile(join(folder, file), 'utf8')
    expect((await release(folder, '--check')).code).toBe(2)
    const words = ['1.2.3', '--repository', ADDRESS, '--date', '2026-12-01']
    expect(await release(folder, ...words)).toMatchObject({ code: 0, stdout: expect.stringContaining('npm publish') })
    expect(JSON.parse(await text('package.json'))).toMatchObject({
      version: '1.2.3',
      author: 'The claude-agent-pool authors',
      repository: { type: 'git', url: `git+${ADDRESS}.git` },
      homepage: `${ADDRESS}#readme`,
      bugs: { url: `${ADDRESS}/issues` },
    })
    expect(JSON.parse(await text('package-lock.json'))).toMatchObject({
      version: '1.2.3',
      packages: { '': { version: '1.2.3' } },
    })
    expect(await text('CHANGELOG.md')).toContain('## Unreleased\n\n## 1.2.3 (2026-12-01)\n\n- Something new.\n')
    expect(await text('deploy/claude-agent-pool.service')).toContain(`Documentation=${ADDRESS}#readme\n`)
    expect(await text('SECURITY.md')).toContain(`](${ADDRESS}/security/advisories/new)`)
    expect(await release(folder, '--check')).toMatchObject({ code: 0, stderr: '' })
    expect((await release(folder, ...words)).stderr).toContain('has nothing below "## Unreleased"')
  })

  test.each([
    [[], 'give a version and where it is published'],
    [['1.2.3'], 'give a version and where it is published'],
    [['next', '--repository', ADDRESS], '"next" is not a version'],
    [['1.2.3', '--repository', 'github.com/x'], '"github.com/x" is not the address of a repository'],
    [['1.2.3', '--repository', 'https://github.com'], '"https://github.com" is not the address of a repository'],
  ])('refuses %j, and changes nothing', async (words, problem) => {
    const folder = await checkout()
    const { code, stderr } = await release(folder, ...words)
    expect([code, stderr]).toEqual([2, expect.stringContaining(problem)])
    expect(await readFile(join(folder, 'package.json'))).toEqual(await readFile(join(project, 'package.json')))
  })
})
