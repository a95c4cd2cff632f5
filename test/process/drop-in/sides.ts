import { chmod, mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AbortError, query as sdkQuery } from '@anthropic-ai/claude-agent-sdk'
import type { Options, Query, SDKMessage, SDKUserMessage } from '../../../src/driver/driver.ts'
import { findClaudeExecutable } from '../../../src/driver/executable.ts'
import { expect, onTestFinished } from 'vitest'
import { MODEL, openSite, processesOf, until } from '../../fixtures/real-pool.ts'
import type { Site } from '../../fixtures/real-pool.ts'
import { user } from '../../fixtures/live-prompts.ts'

export type Prompt = string | AsyncIterable<SDKUserMessage>

/** One of the two implementations, with a simulated model, a home and a working directory of its own. */
export interface Side {
  readonly name: 'sdk' | 'pool'
  readonly site: Site
  readonly cwd: string
  /** What a query with these options is started with, beside what this side needs to work here at all. */
  query(prompt: Prompt, options?: Options): Query
  /** What processes were handed, oldest first. */
  handed(): Promise<Handed[]>
  /** The same text wherever it was written: directories, ids and numbers that differ from run to run have names. */
  plain(value: unknown): unknown
}

/** What one process was started with, and the first things that it was told. */
export interface Handed {
  args: string[]
  env: Record<string, string>
  /** The fields of its `initialize` request. */
  initialize: Record<string, unknown>
  /** The first prompt. */
  prompt: Record<string, unknown> | undefined
}

/** Both sides. They are closed at the end of the test. */
export async function openSides(): Promise<[Side, Side]> {
  return Promise.all([openSide('sdk'), openSide('pool')])
}

async function openSide(name: Side['name']): Promise<Side> {
  const site = await openSite()
  const cwd = await site.directory('project')
  await writeFile(join(cwd, 'note.txt'), 'kept in a file\n')
  const records = await site.directory('records')
  const recorder = await recorderIn(site, records)
  const home = await site.directory('home')
  const pool = name === 'pool' ? await site.pool({ limits: { workers: 4 } }) : undefined
  // The SDK ends a process some seconds after its query, and has no call that waits for that.
  if (pool === undefined) onTestFinished(() => until(async () => expect(await processesOf(site.root)).toEqual([])))
  return {
    name,
    site,
    cwd,
    query: (prompt, options = {}) => {
      const given: Options = { cwd, model: MODEL, pathToClaudeCodeExecutable: recorder, ...options }
      return pool === undefined
        ? sdkQuery({ prompt, options: withPlace(site, home, given) })
        : pool.query({ prompt, options: { ...given, ...NO_SPARES } })
    },
    handed: () => readRecords(records),
    plain: (value) => plain(value, site.root),
  }
}

/** Only what a query is handed itself is compared. */
const NO_SPARES = { spares: { max: 0 }, unboundSpares: { max: 0 } }

/** What the SDK needs to be told so that it uses the simulated model and no home of anybody. */
const withPlace = (site: Site, home: string, options: Options): Options => ({
  ...options,
  env: {
    PATH: process.env['PATH'],
    HOME: home,
    CLAUDE_CONFIG_DIR: join(home, 'config'),
    ANTHROPIC_BASE_URL: site.simulator.url,
    ANTHROPIC_API_KEY: 'simulated',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    ...options.env,
  },
})

/** A `claude` that notes what it is handed, and then is the real one. */
async function recorderIn(site: Site, records: string): Promise<string> {
  const path = join(site.root, 'claude')
  const text = `#!/bin/bash
record='${records}'/$$
printf '%s\\0' "$@" > "$record.args"
env -0 > "$record.env"
exec '${findClaudeExecutable()}' "$@" < <(tee "$record.stdin")
`
  await writeFile(path, text)
  await chmod(path, 0o755)
  return path
}

async function readRecords(records: string): Promise<Handed[]> {
  await mkdir(records, { recursive: true })
  const names = (await readdir(records)).filter((name) => name.endsWith('.stdin')).map((name) => name.slice(0, -6))
  const pids = names.map(Number).toSorted((a, b) => a - b)
  return Promise.all(pids.map((pid) => readRecord(join(records, String(pid)))))
}

async function readRecord(path: string): Promise<Handed> {
  const [args, env, stdin] = await Promise.all(
    ['args', 'env', 'stdin'].map((kind) => readFile(`${path}.${kind}`, 'utf8')),
  )
  const lines = (stdin ?? '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const request = lines.find(({ type }) => type === 'control_request')?.['request']
  return {
    args: (args ?? '').split('\0').slice(0, -1),
    env: Object.fromEntries((env ?? '').split('\0').map((line) => splitAt(line, line.indexOf('=')))),
    initialize: request as Record<string, unknown>,
    prompt: lines.find(({ type }) => type === 'user'),
  }
}

const splitAt = (text: string, at: number): [string, string] => [text.slice(0, at), text.slice(at + 1)]

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

function plain(value: unknown, root: string): unknown {
  if (typeof value === 'number') return '<number>'
  if (typeof value === 'string') {
    return value
      .replaceAll(root, '<root>')
      .replaceAll(/<root>\/(home|data\/tenants\/default)\/config/g, '<config>')
      .replaceAll(UUID, '<id>')
      .replaceAll(/toolu_\w+/g, '<tool use>')
      .replaceAll(/127\.0\.0\.1:\d+/g, '<model>')
      .replaceAll(/\d+/g, '<number>')
  }
  if (Array.isArray(value)) return value.map((item) => plain(item, root))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, root)]))
}

/** How a query ended, in words: its texts, and what it threw. */
export interface Ending {
  results: string[]
  messages: SDKMessage[]
  threw: string | undefined
}

export async function ending(
  query: AsyncIterable<SDKMessage>,
  heard?: (message: SDKMessage) => unknown,
): Promise<Ending> {
  const messages: SDKMessage[] = []
  let threw: string | undefined
  try {
    for await (const message of query) {
      messages.push(message)
      await heard?.(message)
    }
  } catch (error) {
    threw = `${nameOf(error as Error)}: ${(error as Error).message}`
  }
  return { results: messages.flatMap(resultOf), messages, threw }
}

/** The SDK's own class has no name. */
const nameOf = (error: Error): string => (error instanceof AbortError ? 'AbortError' : error.name)

/** The name of an error in what was thrown: the two sides have their own words. */
export const nameIn = (threw: string | undefined): string | undefined => threw?.split(':')[0]

/** What was thrown, without the name of its error. */
export const wordsIn = (threw: string | undefined): string | undefined => threw?.slice(threw.indexOf(': ') + 2)

const resultOf = (message: SDKMessage): string[] =>
  message.type !== 'result' ? [] : [message.subtype === 'success' ? message.result : message.subtype]

export async function* prompts(...texts: string[]): AsyncGenerator<SDKUserMessage> {
  for (const text of texts) yield user(text)
}
