import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { toFile } from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import { official, readTurn, wordsOf } from '../fixtures/official-client.ts'
import { agents, openSite } from '../fixtures/real-pool.ts'

test('an agent reads a file that its client has uploaded', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ allowedTools: ['Bash'] }) })
  const { client } = official(pool, { fileDir: join(site.dataDir, 'files') })
  const { id: file_id } = await client.beta.files.upload({ file: await toFile(Buffer.from('a,b'), 'table.csv') })
  const { id } = await client.beta.sessions.create({
    agent: 'agent_a',
    environment_id: 'env_local',
    resources: [{ type: 'file', file_id }],
  })
  const stream = await client.beta.sessions.events.stream(id)
  await client.beta.sessions.events.send(id, {
    events: [{ type: 'user.message', content: [{ type: 'text', text: '@sim bash cat uploads/table.csv' }] }],
  })
  expect(wordsOf(await readTurn(stream)).at(-1)).toContain('tool said: a,b')
})

test.runIf(existsSync('/usr/bin/bwrap'))(
  'an agent in a sandbox finds files at absolute paths, and its client gets what it writes to the folder of outputs',
  async () => {
    const site = await openSite()
    const pool = await site.pool({
      isolation: { mode: 'bubblewrap', egress: 'none' },
      agents: agents({ allowedTools: ['Bash', 'Write', 'Read'] }),
    })
    const { client } = official(pool, { fileDir: join(site.dataDir, 'files') })
    const upload = async (name: string) =>
      (await client.beta.files.upload({ file: await toFile(Buffer.from(`${name}\n`), name) })).id
    const [one, two, three] = [await upload('one'), await upload('two'), await upload('three')]
    const { id, resources } = await client.beta.sessions.create({
      agent: 'agent_a',
      environment_id: 'env_local',
      resources: [
        { type: 'file', file_id: one, mount_path: '/workspace/data/one' },
        { type: 'file', file_id: two },
        { type: 'file', file_id: three, mount_path: '/data/three' },
      ],
    })
    expect(resources.map((resource) => 'mount_path' in resource && resource.mount_path)).toEqual([
      '/workspace/data/one',
      `/mnt/session/uploads/${two}`,
      '/mnt/session/uploads/data/three',
    ])
    const say = async (text: string): Promise<string | undefined> => {
      const stream = await client.beta.sessions.events.stream(id)
      await client.beta.sessions.events.send(id, {
        events: [{ type: 'user.message', content: [{ type: 'text', text }] }],
      })
      return wordsOf(await readTurn(stream)).at(-1)
    }
    const places = [
      '/workspace/data/one',
      '/mnt/session/uploads/workspace/data/one',
      `/mnt/session/uploads/${two}`,
      '/data/three',
    ]
    expect(await say(`@sim bash cat ${places.join(' ')}; echo sum > /mnt/session/outputs/sum.csv`)).toContain(
      'one\none\ntwo\nthree',
    )
    await say('@sim tool Write {"file_path":"/mnt/session/outputs/report.md","content":"# Report"}')
    const outputs = (await client.beta.files.list({ scope_id: id })).data
    expect(outputs.map(({ filename }) => filename).toSorted()).toEqual(['report.md', 'sum.csv'])
    const report = outputs.find(({ filename }) => filename === 'report.md')?.id ?? ''
    expect(await (await client.beta.files.download(report)).text()).toBe('# Report')
    // While it lives: at once where the folder is there, and in the next process at a path of its own.
    for (const path of ['/workspace/four', '/four'])
      await client.beta.sessions.resources.add(id, { type: 'file', file_id: one, mount_path: path })
    expect(await say('@sim bash cat /workspace/four /four /mnt/session/uploads/four')).toContain('one\none\none')
  },
)
