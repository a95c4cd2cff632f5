import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Options, query, type SDKMessage, type SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Simulator, startSimulator } from '../../src/simulator/server.ts'

let simulator: Simulator
let home: string
let open: Conversation[]

beforeEach(async () => {
  simulator = await startSimulator()
  home = await mkdtemp(join(tmpdir(), 'simulator-'))
  await mkdir(join(home, 'workspace'))
  open = []
})

afterEach(async () => {
  await Promise.all(open.map((conversation) => conversation.close()))
  await simulator.close()
  await rm(home, { recursive: true, force: true })
})

/** One real `claude` process with streaming input. */
class Conversation {
  readonly messages: SDKMessage[] = []
  readonly #prompts: SDKUserMessage[] = []
  readonly #query: ReturnType<typeof query>
  #child: ChildProcess | undefined
  #wake = (): void => {}
  #written = (): void => {}

  constructor(options: Options) {
    const spawnClaudeCodeProcess: Options['spawnClaudeCodeProcess'] = ({ command, args, cwd, env }) => {
      const child = spawn(command, args, { cwd, env, stdio: ['pipe', 'pipe', 'ignore'] })
      this.#child = child
      return child
    }
    this.#query = query({ prompt: this.#input(), options: { ...options, spawnClaudeCodeProcess } })
  }

  async *#input(): AsyncGenerator<SDKUserMessage> {
    for (;;) {
      const prompt = this.#prompts.shift()
      if (prompt !== undefined) {
        yield prompt
        this.#written()
      } else await new Promise<void>((wake) => (this.#wake = wake))
    }
  }

  get sessionId(): string {
    return this.messages.findLast(({ type }) => type === 'result')?.session_id ?? ''
  }

  send(content: string): void {
    this.#prompts.push({ type: 'user', message: { role: 'user', content }, parent_tool_use_id: null })
    this.#wake()
  }

  /** Sends, and waits until the process has read it: it answers what comes after it on the same pipe. */
  async deliver(content: string): Promise<void> {
    const written = new Promise<void>((resolve) => (this.#written = resolve))
    this.send(content)
    await written
    await this.#query.mcpServerStatus()
  }

  /** Reads on to the end of the turn: the text of its result, or what kind of error it is. */
  async result(): Promise<string> {
    for (;;) {
      const { value: message, done } = await this.#query.next()
      if (done === true) throw new Error('the process ended before its result')
      this.messages.push(message)
      if (message.type === 'result') return message.subtype === 'success' ? message.result : message.subtype
    }
  }

  turn(content: string): Promise<string> {
    this.send(content)
    return this.result()
  }

  async interrupt(): Promise<void> {
    await this.#query.interrupt()
  }

  async #end(end: () => void): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    end()
    await exited
  }

  close(): Promise<void> {
    return this.#end(() => this.#query.close())
  }

  kill(): Promise<void> {
    return this.#end(() => this.#child?.kill('SIGKILL'))
  }
}

function start(options: Options = {}): Conversation {
  const conversation = new Conversation({
    cwd: join(home, 'workspace'),
    model: 'claude-sonnet-5',
    permissionMode: 'dontAsk',
    allowedTools: ['Bash', 'Read'],
    settingSources: [],
    ...options,
    env: {
      PATH: process.env['PATH'],
      HOME: home,
      CLAUDE_CONFIG_DIR: join(home, 'config'),
      ANTHROPIC_BASE_URL: simulator.url,
      ANTHROPIC_API_KEY: 'simulated',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      DISABLE_TELEMETRY: '1',
      ...options.env,
    },
  })
  open.push(conversation)
  return conversation
}

const blockTypes = (messages: readonly SDKMessage[]): string[] =>
  messages.flatMap((message) => (message.type === 'assistant' ? message.message.content.map(({ type }) => type) : []))

/** The model has been asked with this prompt, and has not answered. */
const waitsFor = (prompt: string): Promise<void> =>
  vi.waitFor(
    () => expect(simulator.requests.at(-1)).toMatchObject({ prompt: expect.stringContaining(prompt), outcome: 'open' }),
    20_000,
  )

/** The CLI writes a prompt to its transcript some time after it has asked the model: until then a kill loses it. */
const isWritten = (prompt: string): Promise<void> =>
  vi.waitFor(async () => {
    const all = await readdir(join(home, 'config', 'projects'), { recursive: true, withFileTypes: true })
    const files = all.filter((entry) => entry.isFile())
    const texts = await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8')))
    // Its entry in the queue comes first, and does not survive a kill.
    const prompts = texts.flatMap((text) => text.split('\n')).filter((line) => line.includes('"type":"user"'))
    expect(prompts.join('')).toContain(prompt)
  }, 20_000)

describe('The real CLI', () => {
  test('gets an answer in each turn, with the turn counted', async () => {
    const claude = start()
    expect(await claude.turn('one')).toBe('[turn 1] You said: one')
    expect(await claude.turn('two\nlines')).toBe('[turn 2] You said: two\nlines')
    expect(await claude.turn('three')).toBe('[turn 3] You said: three')
  })

  test('gets the same from a model that takes no system messages', async () => {
    const claude = start({ model: 'claude-haiku-4-5' })
    expect(await claude.turn('one\n@sim bash echo hi')).toBe('[turn 1] You said: one\ntool said: hi')
    expect(await claude.turn('two')).toBe('[turn 2] You said: two')
  })

  test('is counted on in a new process, also when the last one was killed in the middle of a turn', async () => {
    const first = start()
    await first.turn('one')
    await first.close()
    const second = start({ resume: first.sessionId })
    expect(await second.turn('two')).toBe('[turn 2] You said: two')
    const cutShort = second.turn('three\n@sim silence')
    await waitsFor('three')
    await isWritten('three')
    await Promise.all([expect(cutShort).rejects.toThrow('SIGKILL'), second.kill()])
    const third = start({ resume: first.sessionId })
    expect(await third.turn('four')).toBe('[turn 4] You said: four')
  })

  test('is counted on after an interrupt', async () => {
    const claude = start()
    const turn = claude.turn('one\n@sim silence')
    await waitsFor('one')
    await claude.interrupt()
    expect(await turn).toBe('error_during_execution')
    await vi.waitFor(() => expect(simulator.open).toBe(0))
    expect(await claude.turn('two')).toBe('[turn 2] You said: two')
  })

  test('is counted on after its history was compacted', async () => {
    const claude = start()
    await claude.turn('one')
    await claude.turn('two')
    await claude.turn('/compact')
    expect(await claude.turn('three')).toBe('[turn 3] You said: three')
  })

  test('has a message counted that steers the running turn', async () => {
    await writeFile(
      join(home, 'workspace', 'wait.mjs'),
      'import { existsSync, watch } from "node:fs"\nconst watcher = watch(".", check)\nfunction check() { if (existsSync("go")) watcher.close() }\ncheck()\n',
    )
    const claude = start()
    const turn = claude.turn(`one\n@sim bash '${process.execPath}' wait.mjs`)
    await vi.waitFor(() => expect(blockTypes(claude.messages)).toContain('tool_use'), 20_000)
    await claude.deliver('two')
    await writeFile(join(home, 'workspace', 'go'), '')
    expect(await turn).toBe('[turn 2] You said: two')
  })
})

describe('A directive moves the real CLI', () => {
  test('to run commands, one after the other', async () => {
    const claude = start()
    const answer = await claude.turn('look\n@sim bash echo first\n@sim bash echo second')
    expect(answer).toBe('[turn 1] You said: look\ntool said: first\ntool said: second')
    expect(await claude.turn('next')).toBe('[turn 2] You said: next')
  })

  test('to read a file', async () => {
    const path = join(home, 'workspace', 'note.txt')
    await writeFile(path, 'kept in a file\n')
    expect(await start().turn(`@sim tool Read ${JSON.stringify({ file_path: path })}`)).toContain('kept in a file')
  })

  test('to hold memory', async () => {
    expect(await start().turn('@sim allocate 32 for 1')).toBe('[turn 1] tool said: held 32 MiB')
  })

  test('to think', async () => {
    const claude = start()
    expect(await claude.turn('hm\n@sim thinking deeply')).toBe('[turn 1] You said: hm')
    expect(blockTypes(claude.messages)).toEqual(['thinking', 'text'])
  })

  test('to try again when the model is overloaded', async () => {
    const claude = start()
    expect(await claude.turn('one\n@sim error 529 times 2')).toBe('[turn 1] You said: one')
    expect(simulator.requests.map(({ status }) => status)).toEqual([529, 529, 200])
  })

  test('to give up on an error that stays, and to go on with the next prompt', async () => {
    const claude = start({ env: { CLAUDE_CODE_MAX_RETRIES: '0' } })
    expect(await claude.turn('one\n@sim error 401')).toContain('401')
    expect(await claude.turn('two\n@sim error 529')).toContain('529')
    expect(await claude.turn('three')).toBe('[turn 3] You said: three')
  })

  test('to try again when the stream breaks', async () => {
    const claude = start()
    expect(await claude.turn('one\n@sim cut times 1')).toBe('[turn 1] You said: one')
    expect(simulator.requests.map(({ outcome }) => outcome)).toEqual(['cut', 'answered'])
  })

  test('to take a large answer', async () => {
    expect(await start().turn('@sim text 3MiB chunk 64KiB')).toHaveLength(3 * 1024 * 1024)
  })
})

test('The real CLI is told that its key is wrong', async () => {
  await simulator.close()
  simulator = await startSimulator({ apiKey: 'right' })
  const result = await start({ env: { CLAUDE_CODE_MAX_RETRIES: '0' } }).turn('hi')
  expect(result).toContain('Invalid API key')
})
