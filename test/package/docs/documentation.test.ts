import { execFile } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { loadScenario } from '../../../src/simulator/server.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'
import { blocks, nameOf, project, spans } from './blocks.ts'
import type { Block } from './blocks.ts'
import { BY_PAGE, COMMON, UNCHECKED } from './context.ts'
import { checkSyntax, commandsIn, problemsOf, typedIn } from './shell.ts'

const execute = promisify(execFile)

const firstLine = ({ text }: Block): string => text.split('\n')[0] ?? ''
const isUnchecked = (block: Block): boolean => UNCHECKED[block.page]?.[firstLine(block)] !== undefined
/** test/package/additions.test.ts adds these to a copy of the project, and uses them. */
const isAddition = ({ page, info }: Block): boolean => page === 'CONTRIBUTING.md' && info.startsWith('file=')

const checked = blocks.filter((block) => !isUnchecked(block) && !isAddition(block))
const of = (...languages: string[]): Block[] => checked.filter(({ language }) => languages.includes(language))

const code = of('ts', 'js')
const configs = of('yaml').filter(({ text }) => !text.startsWith('seed:'))
const scenarios = of('yaml').filter(({ text }) => text.startsWith('seed:'))
const json = of('json')
const shell = of('sh', 'console')

test('Every code block has a language that is checked below, or is named with the reason why it is not', () => {
  const seen = new Set([...code, ...configs, ...scenarios, ...json, ...shell])
  expect(checked.filter((block) => !seen.has(block)).map(nameOf)).toEqual([])
  expect(seen.size).toBeGreaterThan(50)
})

test('Every block that is named as unchecked is there', () => {
  const named = Object.entries(UNCHECKED).flatMap(([page, lines]) =>
    Object.keys(lines).map((line) => `${page}: ${line}`),
  )
  const there = blocks.map((block) => `${block.page}: ${firstLine(block)}`)
  expect(named.filter((one) => !there.includes(one))).toEqual([])
})

/** The names that a block declares or imports. */
const declaresIt = (text: string, name: string): boolean =>
  new RegExp(`\\b(?:const|let|function|class)\\s+(?:\\{[^}]*)?${name}\\b|import [^'"]*\\b${name}\\b`).test(text)

/** The lines that a block needs for the names that it takes from the text around it. */
function contextOf({ page, text }: Block): string[] {
  const context = Object.entries({ ...COMMON, ...BY_PAGE[page] })
  return context.flatMap(([name, line]) => {
    const isUsed = new RegExp(`(?<![.\\w'])${name}\\b(?!:)`).test(text)
    return isUsed && !declaresIt(text, name) ? [line] : []
  })
}

test('TypeScript and JavaScript type-check against the package', async () => {
  const folder = await temporaryFolder()
  await symlink(join(project, 'node_modules'), join(folder, 'node_modules'), 'dir')
  await mkdir(join(folder, 'pages'))
  const files = new Map<string, Block>()
  for (const [at, block] of code.entries()) {
    const file = `pages/${at}.${block.language === 'ts' ? 'mts' : 'mjs'}`
    files.set(file, block)
    await writeFile(join(folder, file), [...contextOf(block), block.text, 'export {}', ''].join('\n'))
  }
  const entry = (path: string): [string] => [join(project, 'src', path)]
  const compilerOptions = {
    allowJs: true,
    checkJs: true,
    noUnusedLocals: false,
    noUnusedParameters: false,
    isolatedDeclarations: false,
    declaration: false,
    // Few programs have it.
    exactOptionalPropertyTypes: false,
    paths: {
      'claude-agent-pool': entry('index.ts'),
      'claude-agent-pool/server': entry('server/index.ts'),
      'claude-agent-pool/simulator': entry('simulator/server.ts'),
      'claude-agent-pool/testing': entry('testing/index.ts'),
    },
    typeRoots: [join(project, 'node_modules/@types')],
  }
  const config = { extends: join(project, 'tsconfig.json'), compilerOptions, include: ['pages'] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const { stdout } = await execute(
    process.execPath,
    [join(project, 'node_modules/typescript/bin/tsc'), '-p', folder, '--pretty', 'false'],
    { cwd: folder },
  ).catch((failure: { stdout: string }) => failure)
  const errors = stdout.split('\n').filter((line) => line !== '')
  const named = errors.map((line) => {
    const [, file = '', rest = ''] = /^(pages\/\d+\.m[tj]s)(.*)$/.exec(line) ?? []
    const block = files.get(file)
    return block === undefined ? line : `${nameOf(block)}${rest}`
  })
  expect(named).toEqual([])
})

test.each(configs)('The config at $page:$line is one that `serve --check` accepts', async ({ text }) => {
  const folder = await temporaryFolder()
  // An extract shows one section, and only `agents` is required.
  const whole = /^agents:/m.test(text) ? text : `agents: { support: {} }\n${text}`
  await writeFile(join(folder, 'claude-agent-pool.config.yaml'), whole)
  const words = [
    '--disable-warning=ExperimentalWarning',
    join(project, 'src/cli/main.ts'),
    'serve',
    '--check',
    '--json',
  ]
  const { stdout, stderr } = await execute(process.execPath, words, { cwd: folder }).catch(
    (failure: { stdout: string; stderr: string }) => failure,
  )
  expect(stderr).toBe('')
  expect(JSON.parse(stdout)).toMatchObject({ valid: true })
})

test.each(scenarios)('The scenario at $page:$line is one that the simulator accepts', async ({ text }) => {
  const file = join(await temporaryFolder(), 'scenario.yaml')
  await writeFile(file, text)
  expect((await loadScenario(file)).rules?.length).toBeGreaterThan(0)
})

test.each(json)('The JSON at $page:$line is JSON', ({ text }) => {
  expect(() => JSON.parse(text) as unknown).not.toThrow()
})

describe('Commands', () => {
  test.each(shell)('$page:$line names only programs, scripts, commands and options that exist', async (block) => {
    const script = typedIn(block)
    await checkSyntax(script)
    expect(await problemsOf(script)).toEqual([])
    expect(commandsIn(script).length).toBeGreaterThan(0)
  })

  test('and so does inline code that begins with claude-agent-pool or npm run', async () => {
    const inline = spans.filter(({ text }) => /^(?:claude-agent-pool [a-z]|npm run \w)/.test(text))
    expect(inline.length).toBeGreaterThan(30)
    const problems: string[] = []
    for (const span of inline) {
      const found = await problemsOf(span.text.replaceAll(/[[\]…]|\.\.\./g, ' '))
      problems.push(...found.map((problem) => `${nameOf(span)}: ${problem}`))
    }
    expect(problems).toEqual([])
  })
})

describe('The checks themselves', () => {
  test.each([
    ['claude-agent-pool serv', 'no command "serv"'],
    ['claude-agent-pool serve --prot 80', '"serve" has no option --prot'],
    ['KEY=x claude-agent-pool sessions delete a --forever # all of it', '"sessions delete" has no option --forever'],
    ['npm run biuld', 'package.json has no script "biuld"'],
    ['npm run bench -- --quick lvie', 'there is no bench "lvie"'],
    ['curl http://x | jp .', '"jp" is no known program'],
    ['npx other-package', 'npx other-package'],
  ])('find what is wrong in: %s', async (script, problem) => {
    expect(await problemsOf(script)).toEqual([problem])
  })

  test('find nothing wrong in what is right', async () => {
    const script = [
      "printf 'a\\n' | claude-agent-pool chat --session x > out.txt && npm run bench -- live --json",
      'KEY=$(openssl rand -hex 24); npx claude-agent-pool@latest --version # and more',
      'cd elsewhere && npm run its-own',
    ].join('\n')
    expect(await problemsOf(script)).toEqual([])
  })
})
