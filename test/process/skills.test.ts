import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { toFile } from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import { official, readTurn } from '../fixtures/official-client.ts'
import { agents, openSite } from '../fixtures/real-pool.ts'

test.runIf(existsSync('/usr/bin/bwrap'))(
  'an agent in a sandbox is told of its skill alone, reads it, and cannot change it wherever it sees it',
  async () => {
    const site = await openSite()
    const pool = await site.pool({ isolation: { mode: 'bubblewrap', egress: 'none' }, agents: agents() })
    const { client } = official(pool, { fileDir: join(site.dataDir, 'files') })
    const text = '---\nname: report\ndescription: Writes reports of Acme\n---\nBegin with "Dear Acme".\n'
    const { id: skill_id } = await client.beta.skills.create({
      files: [
        await toFile(Buffer.from(text), 'report/SKILL.md'),
        await toFile(Buffer.from('Yours\n'), 'report/forms/end.txt'),
      ],
    })
    const agent = await client.beta.agents.create({
      name: 'Writer',
      model: 'claude-sonnet-5',
      skills: [{ type: 'custom', skill_id }],
      tools: [
        {
          type: 'agent_toolset_20260401',
          default_config: { enabled: false },
          configs: [{ name: 'bash', enabled: true }],
        },
      ],
    })
    const { id } = await client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
    const say = async (words: string) => {
      const stream = await client.beta.sessions.events.stream(id)
      await client.beta.sessions.events.send(id, {
        events: [{ type: 'user.message', content: [{ type: 'text', text: words }] }],
      })
      return readTurn(stream)
    }
    const events = await say('@sim tool Skill {"skill":"skills:report"}')
    expect(events).toContainEqual(expect.objectContaining({ type: 'agent.tool_use', name: 'skill' }))
    const bodies = site.simulator.requests.map(({ body }) => JSON.stringify(body ?? null))
    const [listed = ''] = bodies.flatMap(
      (body) => /available for use with the Skill tool:\\n\\n(.*?)<\/system-reminder>/.exec(body)?.[1] ?? [],
    )
    expect(listed.replaceAll('\\n', '')).toBe('- skills:report: Writes reports of Acme')
    expect(bodies.at(-1)).toContain('Begin with \\"Dear Acme\\".')
    const folder = '.agent-skills/skills/report'
    const places = [folder, `/workspace/${folder}`, `/mnt/session/uploads/workspace/${folder}`]
    const tries = places.map((place) => `cat ${place}/forms/end.txt; echo x > ${place}/forms/end.txt`)
    const attacks = ['mv .agent-skills gone', 'rm -r /workspace/.agent-skills']
    const said = JSON.stringify(await say(`@sim bash sh -c '${[...tries, ...attacks].join('; ')}'`))
    expect(said.match(/Yours/g)?.length).toBeGreaterThanOrEqual(3)
    const { cwd } = await (await pool.session(id)).info()
    expect(existsSync(join(cwd ?? '', folder, 'forms/end.txt'))).toBe(true)
    expect(said.match(/Read-only file system|Device or resource busy/g)?.length).toBeGreaterThanOrEqual(5)
  },
)

test('without a sandbox, a skill runs no commands that its agent may not, and hooks beside it are not read', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const { client } = official(pool, { fileDir: join(site.dataDir, 'files') })
  const text = '---\nname: report\ndescription: Writes reports\n---\nBegin.\n!`touch by-skill`\n'
  const { id: skill_id } = await client.beta.skills.create({ files: [await toFile(Buffer.from(text), 'SKILL.md')] })
  const agent = await client.beta.agents.create({
    name: 'Writer',
    model: 'claude-sonnet-5',
    skills: [{ type: 'custom', skill_id }],
    tools: [
      {
        type: 'agent_toolset_20260401',
        configs: [
          { name: 'bash', enabled: false },
          { name: 'glob', enabled: true },
        ],
      },
    ],
  })
  const { id } = await client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
  const session = await pool.session(id)
  const hook = { matcher: '*', hooks: [{ type: 'command', command: 'touch by-hook' }] }
  await session.putFile(
    '.agent-skills/hooks/hooks.json',
    (async function* () {
      yield Buffer.from(JSON.stringify({ hooks: { PreToolUse: [hook], SessionStart: [hook] } }))
    })(),
  )
  const stream = await client.beta.sessions.events.stream(id)
  await client.beta.sessions.events.send(id, {
    events: [{ type: 'user.message', content: [{ type: 'text', text: '@sim tool Skill {"skill":"skills:report"}' }] }],
  })
  const said = JSON.stringify(await readTurn(stream))
  expect(said).toContain('Permission to use Bash has been denied')
  const { cwd = '' } = await session.info()
  expect((await readdir(cwd)).filter((name) => name.startsWith('by-'))).toEqual([])
})
