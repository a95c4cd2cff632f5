import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const SDK = '@anthropic-ai/claude-agent-sdk'
const COPIED = ['src', 'test', 'bench', 'docs', 'deploy', 'dist', 'package.json', 'tsconfig.json', 'vitest.config.ts']

/** The project beside a version of the Agent SDK of its own; all other packages are those of this checkout. */
export class Install implements AsyncDisposable {
  /** As it was installed: `latest` has become a number. */
  readonly version: string
  readonly #root: string

  private constructor(root: string, version: string) {
    this.#root = root
    this.version = version
  }

  static async make(wanted: string): Promise<Install> {
    const root = await mkdtemp(join(tmpdir(), 'test-sdk-'))
    try {
      const packages = await installSdk(join(root, 'sdk'), wanted)
      await copyProject(join(root, 'project'), packages)
      const { version } = JSON.parse(await readFile(join(packages, SDK, 'package.json'), 'utf8')) as { version: string }
      return new Install(root, version)
    } catch (error) {
      await rm(root, { recursive: true, force: true })
      throw error
    }
  }

  get project(): string {
    return join(this.#root, 'project')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Resolves with the folder of the installed packages. */
async function installSdk(folder: string, version: string): Promise<string> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: { [SDK]: version } }))
  await run('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock'], { cwd: folder })
  return join(folder, 'node_modules')
}

async function copyProject(folder: string, sdkPackages: string): Promise<void> {
  const packages = join(folder, 'node_modules')
  await mkdir(join(packages, '@anthropic-ai'), { recursive: true })
  for (const name of COPIED) await cp(name, join(folder, name), { recursive: true })
  const link = (from: string, name: string): Promise<void> => symlink(join(from, name), join(packages, name))
  const own = join(process.cwd(), 'node_modules')
  for (const name of await readdir(own)) if (name !== '@anthropic-ai' && name !== '.vite') await link(own, name)
  await link(own, '@anthropic-ai/sdk')
  for (const name of await readdir(join(sdkPackages, '@anthropic-ai'))) {
    if (name.startsWith('claude-agent-sdk')) await link(sdkPackages, `@anthropic-ai/${name}`)
  }
}
