import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSdkMcpServer, tool } from '@anthropic-ai/claude-agent-sdk'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { AgentOptions, Pool, Session, WorkerContext } from '../../src/index.ts'
import { agentOptions } from '../../src/server/managed-agents/agent-options.ts'
import type { ClientCalls } from '../../src/server/managed-agents/agent-options.ts'
import { define } from '../../src/server/managed-agents/definition.ts'
import { agentCreate, parse } from '../../src/server/managed-agents/schema.ts'
import { agents as agentsWith, asked, event, MODEL, openSite, say, textOf } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const whose = (session: { key: string; tenant: string } | undefined): string =>
  session === undefined ? 'nobody' : `${session.tenant}/${session.key}`

/** A server with a tool that says whose session called it. */
const serverOf = (context: WorkerContext) =>
  createSdkMcpServer({
    name: 'host',
    tools: [
      tool('whose', 'Says whose session this is', { word: z.string() }, ({ word }) =>
        Promise.resolve({ content: [{ type: 'text', text: `${word} ${whose(context.session)}` }] }),
      ),
    ],
  })

const WHOSE = '@sim tool mcp__host__whose {"word":"of"}'

/** An agent with an in-process tool, and one that asks before it runs commands. */
const agents = (questions: string[], options: AgentOptions = {}): Record<string, AgentOptions> => ({
  a: {
    model: MODEL,
    spares: { max: 0 },
    unboundSpares: { max: 0 },
    mcpServers: (context) => ({ host: serverOf(context) }),
    canUseTool: (name, input, { session }) => {
      questions.push(`${name} for ${whose(session)}`)
      return Promise.resolve(
        JSON.stringify(input).includes('forbidden')
          ? { behavior: 'deny', message: 'the host says no' }
          : { behavior: 'allow', updatedInput: input },
      )
    },
    ...options,
  },
})

/** Calls both: the tool in the host, and a command that the host is asked about. */
async function callBoth(session: Session, questions: string[]): Promise<string | undefined> {
  const turn = session.send(`${WHOSE}\n@sim bash touch asked`)
  expect(await textOf(turn)).toContain(`tool said: of ${session.tenant}/${session.key}`)
  const whom = `${session.tenant}/${session.key}`
  expect(questions.splice(0)).toEqual([`mcp__host__whose for ${whom}`, `Bash for ${whom}`])
  const refused = session.send('@sim bash touch forbidden')
  expect(await textOf(refused)).toContain('the host says no')
  expect(questions.splice(0)).toEqual([`Bash for ${whom}`])
  return turn.warmth
}

async function poolWith(
  options: AgentOptions = {},
): Promise<{ site: Site; pool: Pool; questions: string[]; ready: Promise<unknown> }> {
  const site = await openSite()
  const questions: string[] = []
  const pool = await site.pool({ agents: agents(questions, options) })
  return { site, pool, questions, ready: event(pool, 'worker.ready') }
}

test('Tools of the host and its answers to questions work in a cold, a live and a resumed process', async () => {
  const { pool, questions } = await poolWith()
  const session = await pool.session('one', { agent: 'a', tenant: 'acme' })
  expect(await callBoth(session, questions)).toBe('cold')
  expect(await callBoth(session, questions)).toBe('live')
  await session.hibernate()
  expect(await callBoth(session, questions)).toBe('resumed')
})

test.runIf(WHOLE)('They work in a process that was started ahead, new or resumed', async () => {
  const { pool, questions } = await poolWith()
  await pool.warm('one', { agent: 'a' })
  const session = await pool.session('one')
  expect(await callBoth(session, questions)).toBe('primed')
  await session.hibernate()
  await session.warm()
  expect(await callBoth(session, questions)).toBe('primed')
})

test.runIf(WHOLE)('They work in a spare, and are told of the session that it came to serve', async () => {
  const { pool, questions, ready } = await poolWith({ spares: { min: 1, max: 1 } })
  await ready
  const session = await pool.session('one', { agent: 'a' })
  expect(await callBoth(session, questions)).toBe('spare')
})

test.runIf(WHOLE)('They work in a process that was claimed for a directory of the caller', async () => {
  const { site, pool, questions, ready } = await poolWith({ unboundSpares: { min: 1, max: 1 } })
  await ready
  const session = await pool.session('one', { agent: 'a', cwd: await site.directory('project') })
  expect(await callBoth(session, questions)).toBe('spare')
})

test.runIf(WHOLE)('Each of many sessions is told apart', async () => {
  const { pool } = await poolWith({ spares: { min: 2, max: 2 } })
  await event(pool, 'worker.ready', () => pool.stats().workers.spares === 2)
  const sessions = await Promise.all(['x', 'y', 'z'].map((key) => pool.session(key, { agent: 'a', tenant: 'default' })))
  const answers = await Promise.all(sessions.map((session) => say(session, WHOSE)))
  expect(answers.map(({ text }) => text)).toEqual(['x', 'y', 'z'].map((key) => `[turn 1] tool said: of default/${key}`))
})

test.runIf(WHOLE)('A tool of the host that throws is an answer for the agent and harms nobody', async () => {
  const site = await openSite()
  const server = () =>
    createSdkMcpServer({
      name: 'host',
      tools: [tool('fail', 'Fails', {}, () => Promise.reject(new Error('broken in the host')))],
    })
  const pool = await site.pool({
    agents: {
      a: {
        model: MODEL,
        spares: { max: 0 },
        mcpServers: () => ({ host: server() }),
        allowedTools: ['mcp__host__fail'],
      },
    },
  })
  const session = await pool.session('one', { agent: 'a' })
  expect((await say(session, '@sim tool mcp__host__fail {}')).text).toContain('broken in the host')
  expect((await say(session, 'next')).text).toBe('[turn 2] You said: next')
})

test('Hooks of the host see every call of a tool', async () => {
  const site = await openSite()
  const seen: string[] = []
  const pool = await site.pool({
    agents: {
      a: {
        model: MODEL,
        spares: { max: 0 },
        allowedTools: ['Bash'],
        hooks: {
          PreToolUse: [
            {
              hooks: [
                (input) => {
                  if (input.hook_event_name === 'PreToolUse') seen.push(input.tool_name)
                  return Promise.resolve({})
                },
              ],
            },
          ],
        },
      },
    },
  })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, '@sim bash echo one')
  await session.hibernate()
  await say(session, '@sim bash echo two')
  expect(seen).toEqual(['Bash', 'Bash'])
})

/** The policy of a managed agent for the shell commands in the text of skills. */
function policyOfSkills(policy: string): NonNullable<AgentOptions['hooks']> {
  const configs = [
    { name: 'bash', permission_policy: { type: policy } },
    { name: 'read', permission_policy: { type: 'always_ask' } },
  ]
  const body = { name: 'a', model: MODEL, tools: [{ type: 'agent_toolset_20260401', configs }] }
  const calls: ClientCalls = {
    confirm: () => Promise.resolve({ behavior: 'allow' }),
    execute: () => Promise.resolve({ content: [] }),
  }
  const { PreSkillShellCommand = [] } = agentOptions(define(parse(agentCreate, body)), calls).hooks ?? {}
  return { PreSkillShellCommand }
}

test.each([
  ['always_allow', 'It is said by the skill'],
  ['always_ask', 'It is [not run: blocked by hook: commands of skills run only if Bash'],
])('A shell command in the text of a skill meets the policy of a managed agent: %s', async (policy, shown) => {
  const site = await openSite()
  const cwd = await site.directory('project')
  await mkdir(join(cwd, '.claude/skills/look'), { recursive: true })
  await writeFile(
    join(cwd, '.claude/skills/look/SKILL.md'),
    '---\nname: look\ndescription: Looks\n---\n\nIt is !`echo said by the skill`\n',
  )
  const pool = await site.pool({
    agents: agentsWith({ settingSources: ['project'], allowedTools: ['Skill', 'Bash'], hooks: policyOfSkills(policy) }),
  })
  await say(await pool.session('one', { agent: 'a', cwd }), '@sim tool Skill {"skill":"look"}')
  expect(JSON.stringify(asked(site, '@sim tool Skill').at(-1)?.body)).toContain(shown)
})
