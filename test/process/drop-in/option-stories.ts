import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AbortError, createSdkMcpServer, tool } from '@anthropic-ai/claude-agent-sdk'
import { z } from 'zod'
import type { Options, SDKMessage } from '../../../src/driver/driver.ts'
import { findClaudeExecutable } from '../../../src/driver/executable.ts'
import { modelAsked } from '../../fixtures/real-pool.ts'
import { ending, nameIn, wordsIn } from './sides.ts'
import type { Side } from './sides.ts'
import type { Story } from './story.ts'

const initOf = (messages: readonly SDKMessage[]): Extract<SDKMessage, { subtype: 'init' }> | undefined =>
  messages.find((message) => message.type === 'system' && message.subtype === 'init')

/** A server in this process, with a tool that gives back its word. */
const host = (): NonNullable<Options['mcpServers']>[string] =>
  createSdkMcpServer({
    name: 'host',
    tools: [
      tool('echo', 'Echoes', { word: z.string() }, ({ word }) =>
        Promise.resolve({ content: [{ type: 'text', text: word }] }),
      ),
    ],
  })

/** A server of its own, with a tool that asks its user. */
export const shop: { command: string; args: string[] } = {
  command: process.execPath,
  args: [fileURLToPath(new URL('../../fixtures/asking-mcp-server.ts', import.meta.url))],
}

async function pluginIn(side: Side): Promise<string> {
  const path = join(side.site.root, 'plugin')
  await mkdir(join(path, '.claude-plugin'), { recursive: true })
  await writeFile(join(path, '.claude-plugin', 'plugin.json'), '{"name":"mine"}')
  return path
}

const CALLS = [
  '@sim tool mcp__host__echo {"word":"of the host"}',
  '@sim tool mcp__shop__order {}',
  '@sim bash touch made',
]

/** A turn that uses what the program that asks brings along. */
export const calledBack: Story<
  'results' | 'tools' | 'hooked' | 'asked' | 'elicited' | 'servers' | 'plugins' | 'delivered'
> = {
  name: 'a turn calls its program back',
  tell: async (side) => {
    const hooked: string[] = []
    const asked: unknown[] = []
    const elicited: string[] = []
    const { results, messages, threw } = await ending(
      side.query(CALLS.join('\n'), {
        mcpServers: { host: host(), shop },
        mcpServersDelivery: 'initialize',
        permissionMode: 'default',
        plugins: [{ type: 'local', path: await pluginIn(side) }],
        pluginDelivery: 'initialize',
        hooks: {
          PreToolUse: [
            { hooks: [(input) => Promise.resolve(void hooked.push(input.hook_event_name)).then(() => ({}))] },
          ],
        },
        canUseTool: (name, input) => {
          asked.push([name, input])
          return Promise.resolve(name === 'Bash' ? { behavior: 'deny', message: 'not now' } : { behavior: 'allow' })
        },
        onElicitation: ({ serverName }) => {
          elicited.push(serverName)
          return Promise.resolve({ action: 'accept', content: { size: 'M' } })
        },
      }),
    )
    const init = initOf(messages)
    const [handed] = await side.handed()
    const tools = messages.flatMap((message) => (message.type === 'user' ? [message.message.content] : []))
    return {
      results: [side.plain(results), threw],
      tools: side.plain(tools),
      hooked,
      asked: side.plain(asked),
      elicited,
      servers: init?.mcp_servers.map(({ name, status }) => [name, status]).toSorted(),
      plugins: init?.plugins.map(({ name }) => name),
      delivered: side.plain(handed?.initialize['plugins']),
    }
  },
}

/** A `claude` that is a program of Node, and writes to stderr. */
export const program: Story<'results' | 'executable' | 'env' | 'heard' | 'cwd'> = {
  name: 'a program of Node is the executable',
  tell: async (side) => {
    const path = join(side.site.root, 'claude.mjs')
    const noted = join(side.site.root, 'noted.json')
    await writeFile(
      path,
      `import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
writeFileSync(${JSON.stringify(noted)}, JSON.stringify({ execArgv: process.execArgv, title: process.title, env: process.env.EXTRA }))
console.error('noise')
const child = spawn(${JSON.stringify(findClaudeExecutable())}, process.argv.slice(2), { stdio: 'inherit' })
child.on('exit', (code) => process.exit(code ?? 1))
`,
    )
    let heard = ''
    const { results, messages, threw } = await ending(
      side.query('one', {
        pathToClaudeCodeExecutable: path,
        executable: 'node',
        executableArgs: ['--title=mine'],
        env: { EXTRA: 'mine' },
        stderr: (text) => (heard += text),
        // Without a sessionStore these say nothing.
        loadTimeoutMs: 1,
        sessionStoreFlush: 'eager',
      }),
    )
    const { execArgv, title, env } = JSON.parse(await readFile(noted, 'utf8')) as Record<string, unknown>
    return {
      results: [results, threw],
      executable: [execArgv, title],
      env,
      heard: /noise/.exec(heard)?.[0],
      cwd: side.plain(initOf(messages)?.cwd),
    }
  },
}

export const stopped: Story<'limited' | 'aborted'> = {
  name: 'a turn is stopped',
  tell: async (side) => {
    const limited = await ending(
      side.query('@sim bash echo a\n@sim bash echo b', { maxTurns: 1, allowedTools: ['Bash'] }),
    )
    const abortController = new AbortController()
    const reading = ending(side.query('one\n@sim silence', { abortController }))
    await modelAsked(side.site, 'one')
    abortController.abort()
    const { threw } = await reading
    // Thrown at once, and not by the iteration.
    const late = ((): unknown => {
      try {
        return side.query('two', { abortController }).close()
      } catch (error) {
        return [error instanceof AbortError, (error as Error).message]
      }
    })()
    return { limited: [limited.results, wordsIn(limited.threw)], aborted: [threw, late] }
  },
}

/** Nothing that the SDK would refuse before a process starts. */
export const refused: Story<'cwd' | 'env' | 'sessionStore' | 'spawn'> = {
  name: 'the pool refuses what the SDK takes',
  tell: async (side) => {
    const outcome = async (options: Options): Promise<string> => {
      try {
        const { threw } = await ending(side.query('one', options))
        return threw ?? 'taken'
      } catch (error) {
        return `at once: ${(error as Error).message}`
      }
    }
    let appended = 0
    const sessionStore: Options['sessionStore'] = {
      load: () => Promise.resolve(null),
      append: () => Promise.resolve(void (appended += 1)),
    }
    const spawnClaudeCodeProcess: Options['spawnClaudeCodeProcess'] = () => {
      throw new Error('asked to spawn')
    }
    return {
      cwd: nameIn(await outcome({ cwd: join(side.site.root, 'not-there') })),
      env: await outcome({ env: { CLAUDECODE: '1' } }),
      sessionStore: [await outcome({ sessionStore }), appended > 0],
      spawn: await outcome({ spawnClaudeCodeProcess }),
    }
  },
}
