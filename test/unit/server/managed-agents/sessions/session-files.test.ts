import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Anthropic, { NotFoundError, toFile } from '@anthropic-ai/sdk'
import type { SessionCreateParams } from '@anthropic-ai/sdk/resources/beta/sessions/sessions'
import { describe, expect, test } from 'vitest'
import { hashKey } from '../../../../../src/server/auth/authenticator.ts'
import { served } from '../../../../fixtures/server.ts'
import type { ServedFakes } from '../../../../fixtures/server.ts'
import { temporaryFolder } from '../../../../fixtures/temporary-folder.ts'

const [ACME, BETA] = ['a'.repeat(24), 'b'.repeat(24)]

interface Setting extends ServedFakes {
  client: Anthropic
  other: Anthropic
}

async function setting(): Promise<Setting> {
  const keys = [
    { tenant: 'acme', sha256: hashKey(ACME) },
    { tenant: 'beta', sha256: hashKey(BETA) },
  ]
  const all = await served({
    fileDir: join(await temporaryFolder(), 'files'),
    keys,
    tenantLimits: { fileStorage: '1KiB' },
  })
  const as = (apiKey: string): Anthropic =>
    new Anthropic({
      apiKey,
      baseURL: 'http://localhost',
      maxRetries: 0,
      fetch: async (url, init) => all.server.fetch(new Request(url as string, init as RequestInit)),
    })
  return { ...all, client: as(ACME), other: as(BETA) }
}

const upload = async ({ client }: Pick<Setting, 'client'>, name: string, text: string): Promise<string> =>
  (await client.beta.files.upload({ file: await toFile(Buffer.from(text), name) })).id

const begin = ({ client }: Setting, resources: SessionCreateParams['resources'] = []) =>
  client.beta.sessions.create({ agent: 'agent_assistant', environment_id: 'env_local', resources })

/** Where the session works. */
async function workspaceOf({ pool }: Setting, id: string): Promise<string> {
  return (await (await pool.session(id, { tenant: 'acme' })).info()).cwd ?? ''
}

describe('Files of a session', () => {
  test('are in its workspace from the beginning, and are added, listed, read and removed while it lives', async () => {
    const all = await setting()
    const { resources } = all.client.beta.sessions
    const [table, note] = [await upload(all, 'table.csv', 'a,b'), await upload(all, 'note.txt', 'hello')]
    const session = await begin(all, [{ type: 'file', file_id: table }])
    expect(session.resources).toMatchObject([{ type: 'file', file_id: table, mount_path: 'uploads/table.csv' }])
    const workspace = await workspaceOf(all, session.id)
    expect(await readFile(join(workspace, 'uploads/table.csv'), 'utf8')).toBe('a,b')
    const added = await resources.add(session.id, { type: 'file', file_id: note, mount_path: 'data/deep/note.txt' })
    expect(await readFile(join(workspace, 'data/deep/note.txt'), 'utf8')).toBe('hello')
    expect(await resources.retrieve(added.id, { session_id: session.id })).toEqual(added)
    const listed: unknown[] = []
    for await (const resource of resources.list(session.id, { limit: 1 })) listed.push(resource)
    expect(listed).toEqual([...session.resources, added])
    expect(await resources.delete(added.id, { session_id: session.id })).toEqual({
      id: added.id,
      type: 'session_resource_deleted',
    })
    await expect(readFile(join(workspace, 'data/deep/note.txt'))).rejects.toThrow('ENOENT')
    expect((await all.client.beta.sessions.retrieve(session.id)).resources).toEqual(session.resources)
    // The session has a copy of its own.
    await all.client.beta.files.delete(table)
    expect(await readFile(join(workspace, 'uploads/table.csv'), 'utf8')).toBe('a,b')
    await all.client.beta.sessions.delete(session.id)
    await expect(readFile(join(workspace, 'uploads/table.csv'))).rejects.toThrow('ENOENT')
  })

  test('are those of its tenant alone', async () => {
    const all = await setting()
    const foreign = await upload({ client: all.other }, 'a', 'secret')
    await expect(begin(all, [{ type: 'file', file_id: foreign }])).rejects.toThrow(NotFoundError)
    expect(await all.pool.sessions({ tenant: 'acme' })).toEqual([])
    const { id } = await begin(all, [{ type: 'file', file_id: await upload(all, 'a', 'mine') }])
    const mine = (await all.client.beta.sessions.retrieve(id)).resources[0] as { id: string }
    const { resources } = all.other.beta.sessions
    await expect(resources.retrieve(mine.id, { session_id: id })).rejects.toThrow(NotFoundError)
    await expect(resources.delete(mine.id, { session_id: id })).rejects.toThrow(NotFoundError)
  })

  test.each(['/etc/passwd', '/workspace/a', '../a', 'a/../../b', 'a\\b', 'a\nb', '.', `${'x'.repeat(256)}/a`])(
    'are not put at %j, and no session is made for it',
    async (path) => {
      const all = await setting()
      const file_id = await upload(all, 'a', 'x')
      await expect(begin(all, [{ type: 'file', file_id, mount_path: path }])).rejects.toThrow('mount_path')
      expect(await all.pool.sessions({ tenant: 'acme' })).toEqual([])
    },
  )

  test('do not follow a link that an agent has made in their way', async () => {
    const all = await setting()
    const file_id = await upload(all, 'a', 'x')
    const { id } = await begin(all, [{ type: 'file', file_id }])
    const workspace = await workspaceOf(all, id)
    const outside = await temporaryFolder()
    await writeFile(join(outside, 'kept'), 'kept')
    await symlink(outside, join(workspace, 'link'))
    await symlink(join(outside, 'kept'), join(workspace, 'file'))
    const { resources } = all.client.beta.sessions
    const through = resources.add(id, { type: 'file', file_id, mount_path: 'link/kept' })
    await expect(through).rejects.toMatchObject({ status: 500 })
    await resources.add(id, { type: 'file', file_id, mount_path: 'file' })
    expect(await readFile(join(outside, 'kept'), 'utf8')).toBe('kept')
    expect(await readFile(join(workspace, 'file'), 'utf8')).toBe('x')
    await mkdir(join(workspace, 'own'))
  })

  test('are bounded, one at each path, and refused by name if they are of another type', async () => {
    const all = await setting()
    const [half, more] = [await upload(all, 'half', 'x'.repeat(600)), await upload(all, 'more', 'x'.repeat(424))]
    const { id } = await begin(all, [{ type: 'file', file_id: half }])
    const { resources } = all.client.beta.sessions
    await expect(resources.add(id, { type: 'file', file_id: half, mount_path: 'b' })).rejects.toThrow('at most 1 KiB')
    await expect(resources.add(id, { type: 'file', file_id: more, mount_path: 'uploads/half' })).rejects.toThrow(
      'has another resource',
    )
    await resources.add(id, { type: 'file', file_id: more })
    const repository = { type: 'github_repository', url: 'https://github.com/a/b', authorization_token: 't' } as const
    await expect(begin(all, [repository])).rejects.toThrow('neither github_repository nor memory_store')
    await all.client.beta.sessions.archive(id)
    await expect(resources.add(id, { type: 'file', file_id: more, mount_path: 'c' })).rejects.toThrow('is archived')
  })
})
