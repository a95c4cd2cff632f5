/**
 * `npm run release -- VERSION --repository https://github.com/OWNER/NAME`: gives the package its version and every address that
 * depends on where it is published. `npm run release -- --check`: whether that was done.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'

interface Manifest {
  version: string
  repository?: { type: string; url: string }
  homepage?: string
  bugs?: { url: string }
  packages?: Record<string, { version: string }>
}

function fail(message: string): never {
  console.error(`release: ${message}`)
  process.exit(2)
}

const read = (file: string): string => readFileSync(file, 'utf8')

const writeJson = (file: string, value: object): void => writeFileSync(file, `${JSON.stringify(value, undefined, 2)}\n`)

/** Puts `next` in the place of the one match. */
function replaceIn(file: string, pattern: RegExp, next: string): void {
  const text = read(file)
  if (!pattern.test(text)) fail(`${file} has nothing like ${String(pattern)}; nothing may be published without it`)
  writeFileSync(file, text.replace(pattern, next))
}

/** The lines of the changelog that no release has yet. */
const unreleased = (): string =>
  /^## Unreleased\n+([^]*?)(?=^## |(?![^]))/m.exec(read('CHANGELOG.md'))?.[1]?.trim() ?? ''

function check(): void {
  const { repository, homepage, bugs } = JSON.parse(read('package.json')) as Manifest
  if (repository !== undefined && homepage !== undefined && bugs !== undefined && unreleased() === '') return
  fail('this tree is not that of a release; run: npm run release -- VERSION --repository https://github.com/OWNER/NAME')
}

function release(version: string, address: string, date: string): void {
  if (!/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version)) fail(`"${version}" is not a version, like 1.2.3`)
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url?.protocol !== 'https:' || !/^\/[^/]+\/[^/]+$/.test(url.pathname))
    fail(`"${address}" is not the address of a repository, like https://github.com/OWNER/NAME`)
  const home = address.replace(/\.git$/, '')
  if (unreleased() === '') fail('CHANGELOG.md has nothing below "## Unreleased"; say what is new first')
  if (existsSync('.git') && execFileSync('git', ['status', '--porcelain'], { encoding: 'utf8' }) !== '')
    fail('there are changes that are not committed')

  const manifest = JSON.parse(read('package.json')) as Manifest
  Object.assign(manifest, {
    version,
    repository: { type: 'git', url: `git+${home}.git` },
    homepage: `${home}#readme`,
    bugs: { url: `${home}/issues` },
  })
  writeJson('package.json', manifest)
  const lock = JSON.parse(read('package-lock.json')) as Manifest
  lock.version = version
  const own = lock.packages?.['']
  if (own !== undefined) own.version = version
  writeJson('package-lock.json', lock)
  replaceIn('CHANGELOG.md', /^## Unreleased\n/m, `## Unreleased\n\n## ${version} (${date})\n`)
  replaceIn('deploy/claude-agent-pool.service', /^Documentation=.*$/m, `Documentation=${home}#readme`)
  replaceIn(
    'SECURITY.md',
    /the private\s+vulnerability report of the repository \(its Security\s+tab\)/,
    `the [private vulnerability report of the repository](${home}/security/advisories/new)`,
  )
  console.log(`${version} for ${home}. Look at it with git diff, then:

  npm ci && npm test
  git commit --all --message 'Release ${version}' && git tag v${version}
  npm publish`)
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { repository: { type: 'string' }, date: { type: 'string' }, check: { type: 'boolean' } },
})
const [version, ...more] = positionals
if (values.check === true) check()
else if (version === undefined || more.length > 0 || values.repository === undefined)
  fail('give a version and where it is published: npm run release -- 1.2.3 --repository https://github.com/OWNER/NAME')
else release(version, values.repository, values.date ?? new Date().toISOString().slice(0, 10))
