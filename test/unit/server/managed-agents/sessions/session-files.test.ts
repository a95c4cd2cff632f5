import { mkdir, readFile, stat, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
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

async function setting(fileStorage = '1KiB'): Promise<Setting> {
  const keys = [
    { tenant: 'acme', sha256: hashKey(ACME) },
    { tenant: 'beta', sha256: hashKey(BETA) },
  ]
  const all = await served({
    fileDir: join(await temporaryFolder(), 'files'),
    keys,
    tenantLimits: { fileStorage },
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
  })

  test('may be at an absolute path if that lies in the workspace, and at one path only', async () => {
    const all = await setting()
    const { resources } = all.client.beta.sessions
    const file_id = await upload(all, 'a', 'x')
    const { id } = await begin(all, [{ type: 'file', file_id }])
    const path = join(await workspaceOf(all, id), 'data/a')
    const added = await resources.add(id, { type: 'file', file_id, mount_path: path })
    expect([added.mount_path, await readFile(path, 'utf8')]).toEqual([path, 'x'])
    const again = resources.add(id, { type: 'file', file_id, mount_path: 'data//a' })
    await expect(again).rejects.toThrow('has another resource of this session')
    await resources.delete(added.id, { session_id: id })
    await expect(readFile(path)).rejects.toThrow('ENOENT')
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
    await expect(begin(all, [repository])).rejects.toThrow('must be file or memory_store')
    await all.client.beta.sessions.archive(id)
    await expect(resources.add(id, { type: 'file', file_id: more, mount_path: 'c' })).rejects.toThrow('is archived')
  })
})

/** Writes what an agent would write. */
async function write(all: Setting, id: string, path: string, text: string): Promise<string> {
  const file = join(await workspaceOf(all, id), path)
  await mkdir(join(file, '..'), { recursive: true })
  await writeFile(file, text)
  return file
}

describe('What an agent writes into the folder of outputs', () => {
  test('is listed by the id of its session, read, given to another session, and deleted', async () => {
    const all = await setting()
    const { files } = all.client.beta
    const { id } = await begin(all, [{ type: 'file', file_id: await upload(all, 'table.csv', 'a,b') }])
    expect((await files.list({ scope_id: id })).data).toEqual([])
    const path = await write(all, id, 'outputs/plots/report.csv', 'sum')
    const listed = (await files.list({ scope_id: id })).data
    expect(listed).toEqual([
      {
        type: 'file',
        id: expect.stringMatching(/^file_\w{48}$/) as string,
        filename: 'report.csv',
        mime_type: 'text/csv',
        size_bytes: 3,
        created_at: expect.any(String) as string,
        downloadable: true,
        expires_at: null,
        scope: { type: 'session', id },
      },
    ])
    const output = listed[0]?.id ?? ''
    expect(await files.retrieveMetadata(output)).toEqual(listed[0])
    const answer = await files.download(output)
    expect([await answer.text(), answer.headers.get('content-disposition')]).toEqual(['sum', 'attachment'])
    expect((await files.list()).data.map(({ filename }) => filename)).toEqual(['table.csv'])
    const next = await begin(all, [{ type: 'file', file_id: output }])
    expect(await readFile(join(await workspaceOf(all, next.id), 'uploads/report.csv'), 'utf8')).toBe('sum')
    expect(await files.delete(output)).toEqual({ type: 'file_deleted', id: output })
    await expect(stat(path)).rejects.toThrow('ENOENT')
    await expect(files.retrieveMetadata(output)).rejects.toThrow(NotFoundError)
  })

  test('comes in pages, newest first', async () => {
    const all = await setting()
    const { id } = await begin(all, [{ type: 'file', file_id: await upload(all, 'a', 'x') }])
    for (const [at, name] of ['one', 'two', 'three'].entries()) {
      const path = await write(all, id, `outputs/${name}`, name)
      await utimes(path, 1_000 + at, 1_000 + at)
    }
    const names: string[] = []
    for await (const { filename } of all.client.beta.files.list({ scope_id: id, limit: 2 })) names.push(filename)
    expect(names).toEqual(['three', 'two', 'one'])
    const lost = all.client.beta.files.list({ scope_id: id, page: 'file_none' })
    await expect(lost).rejects.toThrow('is not a cursor of this list')
  })

  test('is another tenant’s alone, and goes with the session', async () => {
    const all = await setting()
    const { id } = await begin(all, [{ type: 'file', file_id: await upload(all, 'a', 'x') }])
    await write(all, id, 'outputs/secret', 'secret')
    const output = (await all.client.beta.files.list({ scope_id: id })).data[0]?.id ?? ''
    const other = all.other.beta.files
    expect((await other.list({ scope_id: id })).data).toEqual([])
    for (const ask of [other.retrieveMetadata(output), other.download(output), other.delete(output)])
      await expect(ask).rejects.toThrow(NotFoundError)
    await all.client.beta.sessions.delete(id)
    await expect(all.client.beta.files.download(output)).rejects.toThrow(NotFoundError)
    expect((await all.client.beta.files.list({ scope_id: id })).data).toEqual([])
  })

  test('is read through no link, and has a name that is safe to write to', async () => {
    const all = await setting()
    const { id } = await begin(all, [{ type: 'file', file_id: await upload(all, 'a', 'x') }])
    const outside = await temporaryFolder()
    await writeFile(join(outside, 'host'), 'secret')
    const path = await write(all, id, 'outputs/a\u202egpj.exe\n', 'x')
    await symlink(join(outside, 'host'), join(path, '../link'))
    await symlink(outside, join(path, '../folder'))
    const listed = (await all.client.beta.files.list({ scope_id: id })).data
    expect(listed.map(({ filename }) => filename)).toEqual(['a_gpj.exe_'])
    // Put in the place of a file that was listed.
    await unlink(path)
    await symlink(join(outside, 'host'), path)
    await expect(all.client.beta.files.download(listed[0]?.id ?? '')).rejects.toThrow(NotFoundError)
  })
})

describe('A file in a message', () => {
  const PNG = Buffer.from('iVBORw0KGgo=', 'base64')

  const ask = ({ client }: Setting, id: string, content: unknown[]) =>
    client.beta.sessions.events.send(id, { events: [{ type: 'user.message', content: content as never }] })

  test('reaches the agent as its content, and stays a file in the events', async () => {
    const all = await setting()
    const { files, sessions } = all.client.beta
    const image = await files.upload({ file: await toFile(PNG, 'dot.png', { type: 'image/png' }) })
    const { id } = await begin(all)
    const content = [
      { type: 'text', text: 'Look' },
      { type: 'image', source: { type: 'file', file_id: image.id } },
      { type: 'document', source: { type: 'file', file_id: await upload(all, 'note.txt', 'hello') }, title: 'Note' },
    ]
    await ask(all, id, content)
    await expect
      .poll(() => all.driver.processes[0]?.prompts[0]?.message.content)
      .toEqual([
        content[0],
        { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG.toString('base64') } },
        { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'hello' }, title: 'Note' },
      ])
    const asked = (await sessions.events.list(id, { types: ['user.message'] })).data
    expect(asked).toMatchObject([{ type: 'user.message', content }])
  })

  test.each([
    ['image', 'text/plain', 'hello', 'an image is one of'],
    ['document', 'image/png', 'x', 'a document is application/pdf or text'],
    ['document', 'text/plain', Buffer.from([0xff, 0xfe]), 'is no text in UTF-8'],
    ['document', 'text/plain', '', 'is empty'],
  ])('is refused by name if it is no %s: %s', async (type, mime, data, problem) => {
    const all = await setting()
    const { id: file_id } = await all.client.beta.files.upload({
      file: await toFile(Buffer.from(data), 'f', { type: mime }),
    })
    const { id } = await begin(all)
    await expect(ask(all, id, [{ type, source: { type: 'file', file_id } }])).rejects.toThrow(problem)
    expect((await all.client.beta.sessions.events.list(id)).data).toEqual([])
  })

  test('is that of its tenant alone, and all of a message are bounded', async () => {
    const all = await setting('40MiB')
    const { id } = await begin(all)
    const foreign = await upload({ client: all.other }, 'a.txt', 'secret')
    const source = (file_id: string) => ({ type: 'document', source: { type: 'file', file_id } })
    await expect(ask(all, id, [source(foreign)])).rejects.toThrow(NotFoundError)
    const half = await upload(all, 'half.txt', 'x'.repeat(11 * 2 ** 20))
    await expect(ask(all, id, [source(half), source(half)])).rejects.toThrow('have at most 20 MiB')
  })
})
