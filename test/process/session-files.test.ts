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
