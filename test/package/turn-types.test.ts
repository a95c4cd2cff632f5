import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { MOST_OF_BASELINE, turnTypes } from '../../scripts/turn-types/turn-types.ts'

const project = resolve(import.meta.dirname, '../..')

/** A pool in little: a session asks its host, which asks a desk for a place and has a runner talk to the process. */
const SMALL: Record<string, string> = {
  'port.ts': `
export interface Message { text: string }
export interface AgentProcess { messages: AsyncIterable<Message>; send(prompt: string): Promise<void> }
`,
  'session.ts': `
import type { Message } from './port.ts'
export interface Turn { result: Promise<Message> }
export interface Host { start(prompt: string): Turn }
export class Session {
  readonly #host: Host
  constructor(host: Host) { this.#host = host }
  send(prompt: string): Turn { return this.#host.start(prompt) }
}
`,
  'pool.ts': `
import type { AgentProcess, Message } from './port.ts'
import type { Host, Turn } from './session.ts'
interface Desk { ask(): Place }
interface Place { name: string }
interface Never { used(): void }
type Line = (message: Message) => void
export class FullError extends Error {}
class Front implements Desk { ask(): Place { return { name: 'first' } } }
class Runner {
  readonly settled = Promise.withResolvers<Message>()
  run(process: AgentProcess, prompt: string): void { void process.send(prompt) }
  hear(message: Message): void { this.settled.resolve(message) }
}
class Listener {
  hear: Line = () => undefined
  async listen(process: AgentProcess): Promise<void> { for await (const message of process.messages) this.hear(message) }
}
export class Pool implements Host {
  readonly #desk: Desk = new Front()
  readonly #listener = new Listener()
  readonly #process: AgentProcess
  constructor(process: AgentProcess) { this.#process = process; void this.#listener.listen(process) }
  start(prompt: string): Turn {
    const place = this.#desk.ask()
    if (place.name === '') throw new FullError()
    const runner = new Runner()
    this.#listener.hear = (message) => runner.hear(message)
    runner.run(this.#process, prompt)
    return { result: runner.settled.promise }
  }
  never(unused: Never): void { unused.used() }
}
`,
  'testing/index.ts': `
import type { AgentProcess, Message } from '../port.ts'
import { Pool } from '../pool.ts'
import { Session } from '../session.ts'
class FakeProcess implements AgentProcess {
  #wake = Promise.withResolvers<Message>()
  readonly messages: AsyncIterable<Message> = this.#read()
  async *#read(): AsyncGenerator<Message> {
    for (;;) {
      const message = await this.#wake.promise
      this.#wake = Promise.withResolvers<Message>()
      yield message
    }
  }
  async send(prompt: string): Promise<void> { this.#wake.resolve({ text: prompt }) }
}
export async function createTestPool(): Promise<unknown> {
  const pool = new Pool(new FakeProcess())
  return { pool: { session: async () => new Session(pool) }, async [Symbol.asyncDispose]() {} }
}
`,
}

/** What the little pool names: its `Front` is used, but not on the path; its fake is no part of it; `Never` never runs. */
const NAMED = ['AgentProcess', 'Desk', 'Host', 'Listener', 'Message', 'Place', 'Pool', 'Runner', 'Session', 'Turn']

async function typesOf(files: Record<string, string>): Promise<string[]> {
  const root = await realpath(await mkdtemp(join(tmpdir(), 'turn-types-test-')))
  try {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(root, 'src', name)), { recursive: true })
      await writeFile(join(root, 'src', name), text)
    }
    for (const name of ['tsconfig.json', 'tsconfig.build.json'])
      await writeFile(join(root, name), await readFile(join(project, name)))
    const exports = { './testing': { default: './dist/testing/index.js' } }
    await writeFile(join(root, 'package.json'), JSON.stringify({ type: 'module', exports }))
    await symlink(join(project, 'node_modules'), join(root, 'node_modules'))
    return turnTypes(root)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

const changed = (file: string, from: string, to: string): Record<string, string> => {
  const text = SMALL[file]?.replace(from, to) ?? ''
  expect(text).not.toBe(SMALL[file])
  return { ...SMALL, [file]: text }
}

test('a live turn names at least 30 % fewer types than at the commit with which it is compared', async () => {
  const baseline = JSON.parse(await readFile(join(project, 'scripts/turn-types/baseline.json'), 'utf8')) as {
    types: string[]
  }
  expect(baseline.types.length).toBe(35)
  expect(turnTypes(project).length).toBeLessThanOrEqual(baseline.types.length * MOST_OF_BASELINE)
})

test('counted are the types that the path of a turn belongs to, writes or uses: no errors, no fakes, nothing that does not run', async () => {
  expect(await typesOf(SMALL)).toEqual(NAMED)
})

test('files may move: the count does not follow paths', async () => {
  const { 'pool.ts': pool = '', 'testing/index.ts': testing = '', ...rest } = SMALL
  const moved = {
    ...rest,
    'house/hall/pool.ts': pool.replaceAll(`'./`, `'../../`),
    'testing/index.ts': testing.replace('../pool.ts', '../house/hall/pool.ts'),
  }
  expect(await typesOf(moved)).toEqual(NAMED)
})

test('a type that is inferred counts as one that is written', async () => {
  const inferred = changed('pool.ts', 'readonly #desk: Desk = new Front()', 'readonly #desk = new Front()')
  expect(await typesOf(inferred)).toEqual(NAMED.map((name) => (name === 'Desk' ? 'Front' : name)).toSorted())
})

test('another step between session and process adds its types', async () => {
  const longer = changed(
    'pool.ts',
    'runner.run(this.#process, prompt)',
    'new Between(this.#process).pass(runner, prompt)',
  )
  longer['pool.ts'] += `
class Between {
  readonly #process: AgentProcess
  constructor(process: AgentProcess) { this.#process = process }
  pass(runner: Runner, prompt: string): void { runner.run(this.#process, prompt) }
}
`
  expect(await typesOf(longer)).toEqual([...NAMED, 'Between'].toSorted())
})

test('a path that cannot be followed is an error, and not a low count', async () => {
  const renamed = Object.fromEntries(
    Object.entries(SMALL).map(([name, text]) => [name, text.replaceAll('AgentProcess', 'Child')]),
  )
  await expect(typesOf(renamed)).rejects.toThrow('exports a class or interface AgentProcess')
  const cut = changed(
    'pool.ts',
    'this.settled.resolve(message)',
    'Reflect.apply(this.settled.resolve, this, [message])',
  )
  await expect(typesOf(cut)).rejects.toThrow('where Turn.result is resolved')
})
