import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { project } from './blocks.ts'
import type { Block } from './blocks.ts'

const execute = promisify(execFile)

/** Programs that pages call and that are no part of this package. */
const FOREIGN = new Set(['cd', 'curl', 'docker', 'du', 'mv', 'node', 'openssl', 'printf', 'sha256sum'])

const NPM = new Set(['ci', 'create', 'init', 'install', 'publish', 'start', 'test'])

const { scripts, name: PACKAGE } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
  name: string
}

/** The commands of a block: of a console only what was typed. */
export function typedIn({ language, text }: Block): string {
  if (language !== 'console') return text
  return text
    .split('\n')
    .filter((line) => line.startsWith('$ '))
    .map((line) => line.slice(2))
    .join('\n')
}

/** Throws when a shell could not read it. */
export async function checkSyntax(script: string): Promise<void> {
  await execute('bash', ['-n', '-c', script])
}

/** The commands of a script, as words. Quoted text is one word; comments, redirections and assignments are gone. */
export function commandsIn(script: string): string[][] {
  const commands: string[][] = [[]]
  const token = /\\\n|(?<=^|\s)#[^\n]*|'[^']*'|"(?:\\.|[^"\\])*"|\|\||&&|[;|&\n]|\d?>>?\s*\S+|<\s*\S+|[^\s;|&'"]+/g
  let end = -1
  // A command within a command is one, too.
  for (const { 0: text, index } of script.replaceAll(/\$\(|\)/g, ';').matchAll(token)) {
    const words = commands.at(-1) ?? []
    if (/^(?:\\\n|#|\d?>|<)/.test(text)) continue
    if (/^(?:[;|&\n]|\|\||&&)$/.test(text)) commands.push([])
    else if (index === end && words.length > 0) words.push(`${words.pop() ?? ''}${text}`)
    else words.push(text)
    end = index + text.length
  }
  return commands
    .map((words) => words.slice(words.findIndex((word) => !/^\w+=/.test(word))))
    .filter(([first]) => first !== undefined && !/^\w+=/.test(first))
}

/** What is wrong with the commands of a script: nothing if everything that they name exists. */
export async function problemsOf(script: string): Promise<string[]> {
  const commands = commandsIn(script)
  const left = commands.findIndex(([program]) => program === 'cd')
  // In another folder npm runs the scripts of another project.
  const own = commands.filter(([program], at) => program !== 'npm' || left === -1 || at < left)
  const problems = await Promise.all(own.map(problemOf))
  return problems.filter((problem) => problem !== undefined)
}

async function problemOf([program = '', ...words]: readonly string[]): Promise<string | undefined> {
  if (program === PACKAGE) return problemOfCommand(words)
  if (program === 'npx')
    return words[0]?.split('@')[0] === PACKAGE ? problemOfCommand(words.slice(1)) : `npx ${words[0]}`
  if (program === 'npm') return problemOfNpm(words)
  if (program === 'node' && words[0]?.endsWith('.ts') === true)
    return existsSync(join(project, words[0])) ? undefined : `there is no ${words[0]}`
  return FOREIGN.has(program) ? undefined : `"${program}" is no known program`
}

function problemOfNpm(words: readonly string[]): string | undefined {
  const [verb = '', name = ''] = words.filter((word) => word !== '--silent')
  if (verb !== 'run') return NPM.has(verb) ? undefined : `npm has no known command "${verb}"`
  if (scripts[name] === undefined) return `package.json has no script "${name}"`
  if (name !== 'bench' || !words.includes('--')) return undefined
  const benches = words.slice(words.indexOf('--') + 1).filter((word) => /^[a-z]/.test(word))
  const unknown = benches.find((bench) => !existsSync(join(project, 'bench', `${bench}.ts`)))
  return unknown && `there is no bench "${unknown}"`
}

const helps = new Map<string, Promise<string>>()

function helpOf(path: readonly string[]): Promise<string> {
  const key = path.join(' ')
  const known = helps.get(key)
  if (known !== undefined) return known
  const main = join(project, 'src/cli/main.ts')
  const help = execute(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...path, '--help']).then(
    ({ stdout }) => stdout,
  )
  helps.set(key, help)
  return help
}

/** A command of this package, its subcommands and its options exist. */
async function problemOfCommand(words: readonly string[]): Promise<string | undefined> {
  const path: string[] = []
  for (const word of words) {
    const help = await helpOf(path)
    if (!/^Commands:$/m.test(help) || !/^[a-z]+$/.test(word)) break
    if (!new RegExp(`^  ${word}\\b`, 'm').test(help.slice(help.indexOf('Commands:')))) return `no command "${word}"`
    path.push(word)
  }
  const help = `${await helpOf(path)}\n  --version`
  const options = words.flatMap((word) => /^--[a-z-]+/.exec(word)?.[0] ?? [])
  const unknown = options.find((option) => !new RegExp(`^  (?:-\\w, )?${option}\\b`, 'm').test(help))
  return unknown && `"${path.join(' ')}" has no option ${unknown}`
}
