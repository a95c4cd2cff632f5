import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { official, readTurn } from '../fixtures/official-client.ts'
import { agents, openSite } from '../fixtures/real-pool.ts'

test.runIf(existsSync('/usr/bin/bwrap'))(
  'an agent in a sandbox changes one store, and can change nothing of another that it may only read',
  async () => {
    const site = await openSite()
    const pool = await site.pool({
      isolation: { mode: 'bubblewrap', egress: 'none' },
      agents: agents({ allowedTools: ['Bash', 'Write'] }),
    })
    const { client } = official(pool)
    const { memories, memoryVersions } = client.beta.memoryStores
    const notes = await client.beta.memoryStores.create({ name: 'Notes' })
    const rules = await client.beta.memoryStores.create({ name: 'Rules', description: 'Of Acme' })
    await memories.create(notes.id, { path: '/a', content: 'note\n' })
    await memories.create(rules.id, { path: '/a', content: 'rule\n' })
    const { id, resources } = await client.beta.sessions.create({
      agent: 'agent_a',
      environment_id: 'env_local',
      resources: [
        { type: 'memory_store', memory_store_id: notes.id },
        { type: 'memory_store', memory_store_id: rules.id, access: 'read_only' },
      ],
    })
    const paths = resources.map((resource) => 'mount_path' in resource && resource.mount_path)
    expect(paths).toEqual(['/mnt/memory/notes', '/mnt/memory/rules'])
    const say = async (text: string) => {
      const stream = await client.beta.sessions.events.stream(id)
      await client.beta.sessions.events.send(id, {
        events: [{ type: 'user.message', content: [{ type: 'text', text }] }],
      })
      return JSON.stringify(await readTurn(stream))
    }
    const commands = [
      'cat /mnt/memory/notes/a /mnt/memory/rules/a',
      'echo mine > /mnt/memory/notes/b',
      'echo x > /mnt/memory/rules/a',
      'echo x > .agent-memory/rules/a',
      'rm -r /workspace/.agent-memory',
      'mv memory/rules gone',
    ]
    const said = await say(`@sim bash sh -c '${commands.join('; ')}'`)
    expect(said).toContain('note\\nrule')
    expect(said.match(/Read-only file system|Device or resource busy/g)?.length).toBeGreaterThanOrEqual(4)
    const listed = async (store: string) =>
      (await memories.list(store, { view: 'full' })).data.map((item) => 'content' in item && [item.path, item.content])
    expect(await listed(notes.id)).toEqual([
      ['/a', 'note\n'],
      ['/b', 'mine\n'],
    ])
    expect(await listed(rules.id)).toEqual([['/a', 'rule\n']])
    expect((await memoryVersions.list(notes.id, { session_id: id })).data).toHaveLength(1)
    const body = JSON.stringify(site.simulator.requests.at(-1)?.body ?? null)
    expect(body).toContain('/mnt/memory/rules (\\"Rules\\", read-only)')
    await say('@sim tool Write {"file_path":"/mnt/memory/notes/c","content":"written"}')
    expect(await listed(notes.id)).toContainEqual(['/c', 'written'])
  },
)
