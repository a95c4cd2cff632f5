import { readdir, readFile, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Anthropic, { NotFoundError, toFile } from '@anthropic-ai/sdk'
import type { FileMetadata } from '@anthropic-ai/sdk/resources/files'
import { describe, expect, test } from 'vitest'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { nameOf } from '../../../../src/server/managed-agents/files/upload.ts'
import type { ServerOptions } from '../../../../src/server/options.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'
import { temporaryFolder } from '../../../fixtures/temporary-folder.ts'

const [ACME, BETA] = ['a'.repeat(24), 'b'.repeat(24)]

interface Setting extends ServedFakes {
  dir: string
  as: (key: string) => Anthropic
  files: Anthropic['beta']['files']
}

async function setting(options: ServerOptions = {}): Promise<Setting> {
  const dir = join(await temporaryFolder(), 'files')
  const keys = [
    { tenant: 'acme', sha256: hashKey(ACME) },
    { tenant: 'Beta Ltd.', sha256: hashKey(BETA) },
  ]
  const all = await served({ fileDir: dir, keys, ...options })
  const as = (apiKey: string): Anthropic =>
    new Anthropic({
      apiKey,
      baseURL: 'http://localhost',
      maxRetries: 0,
      fetch: async (url, init) => all.server.fetch(new Request(url as string, init as RequestInit)),
    })
  return { ...all, dir, as, files: as(ACME).beta.files }
}

const named = (name: string, text = 'hello', type = 'text/plain') => toFile(Buffer.from(text), name, { type })

const upload = async ({ files }: Pick<Setting, 'files'>, name = 'note.txt', text = 'hello') =>
  files.upload({ file: await named(name, text) })

/** All that is on the disk. */
const stored = ({ dir }: Setting): Promise<string[]> => readdir(dir, { recursive: true }).catch(() => [])

describe('A file', () => {
  test('is uploaded, read, downloaded, listed and deleted', async () => {
    const all = await setting()
    const { files } = all
    const made = await upload(all)
    expect(made).toEqual({
      type: 'file',
      id: expect.stringMatching(/^file_\w{24}$/) as string,
      filename: 'note.txt',
      mime_type: 'text/plain',
      size_bytes: 5,
      created_at: expect.any(String) as string,
      downloadable: true,
      expires_at: null,
      scope: null,
    } satisfies FileMetadata | object)
    expect(await files.retrieveMetadata(made.id)).toEqual(made)
    const answer = await files.download(made.id)
    expect(await answer.text()).toBe('hello')
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-length': '5',
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      'x-content-type-options': 'nosniff',
    })
    expect((await files.list()).data).toEqual([made])
    expect(await files.delete(made.id)).toEqual({ type: 'file_deleted', id: made.id })
    await expect(files.retrieveMetadata(made.id)).rejects.toThrow(NotFoundError)
    expect(await stored(all)).toEqual(['acme'])
  })

  test('is another tenant’s alone', async () => {
    const all = await setting()
    const { id } = await upload(all)
    const other = all.as(BETA).beta.files
    for (const attempt of [() => other.retrieveMetadata(id), () => other.download(id), () => other.delete(id)])
      await expect(attempt()).rejects.toThrow(NotFoundError)
    expect((await other.list()).data).toEqual([])
    expect((await other.list({ ids: [id] })).data).toEqual([])
    expect(await (await all.files.download(id)).text()).toBe('hello')
  })

  test('is listed in pages, newest first, or by its id', async () => {
    const all = await setting()
    const made: string[] = []
    for (let index = 0; index < 5; index += 1) {
      made.push((await upload(all)).id)
      await all.clock.advance(1)
    }
    const listed: string[] = []
    for await (const { id } of all.files.list({ limit: 2 })) listed.push(id)
    expect(listed).toEqual(made.toReversed())
    const [first = '', second = ''] = made
    const byId = await all.files.list({ ids: [second, first, second, 'file_none'] })
    expect(byId.data.map(({ id }) => id)).toEqual([second, first])
    await expect(all.files.list({ ids: [first], limit: 5 })).rejects.toThrow('ids: does not go with page and limit')
    expect((await all.files.list({ scope_id: 'sesn_1' })).data).toEqual([])
  })

  test('expires when it was told to, and its content goes with the next count', async () => {
    const all = await setting()
    const { id, expires_at } = await all.files.upload({ file: await named('a'), expires_in_seconds: 3_600 })
    expect(expires_at).not.toBeNull()
    await all.clock.advance(3_600_000)
    await expect(all.files.retrieveMetadata(id)).rejects.toThrow(NotFoundError)
    expect((await all.files.list()).data).toEqual([])
    expect(await stored(all)).toContain(join('acme', id))
    await upload(all)
    expect(await stored(all)).not.toContain(join('acme', id))
    const short = all.files.upload({ file: await named('a'), expires_in_seconds: 3_599 })
    await expect(short).rejects.toThrow('expires_in_seconds')
  })

  test('goes with its tenant', async () => {
    const all = await setting({ managedAgents: { define: true } })
    await upload(all)
    const { agents, environments } = all.as(ACME).beta
    await agents.create({ name: 'Helper', model: 'claude-sonnet-5' })
    await environments.create({ name: 'mine' })
    await all.as(BETA).beta.environments.create({ name: 'theirs' })
    await all.pool.eraseTenant('acme')
    await expect.poll(async () => (await all.files.list()).data).toEqual([])
    const mine = [...(await agents.list()).data, ...(await environments.list()).data]
    expect(mine.map(({ id }) => id)).toEqual(['agent_assistant', 'env_local'])
    expect((await all.as(BETA).beta.environments.list()).data).toHaveLength(2)
    await expect.poll(() => stored(all)).toEqual(['acme'])
  })
})

describe('An upload', () => {
  test('is refused beyond the limits of the tenant, and leaves nothing', async () => {
    const all = await setting({ tenantLimits: { files: 3, fileSize: '10B', fileStorage: '15B' } })
    await expect(upload(all, 'a', 'x'.repeat(11))).rejects.toMatchObject({ status: 413 })
    await upload(all, 'b', 'x'.repeat(10))
    await expect(upload(all, 'c', 'x'.repeat(6))).rejects.toThrow('of files; delete some')
    const { id } = await upload(all, 'd', 'x'.repeat(5))
    expect((await stored(all)).filter((name) => name.includes('file_'))).toHaveLength(2)
    await all.files.delete(id)
    await upload(all, 'e', 'x'.repeat(2))
    await upload(all, 'f', 'x')
    await expect(upload(all, 'g', 'x')).rejects.toThrow('its 3 files')
    expect((await all.as(BETA).beta.files.upload({ file: await named('a') })).size_bytes).toBe(5)
  })

  test('that breaks off leaves nothing', async () => {
    const all = await setting()
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        controller.enqueue(Buffer.from(head + 'x'.repeat(100_000)))
      },
      // What was sent is on the disk by then.
      async pull(controller) {
        await expect.poll(async () => (await stored(all)).some((name) => name.endsWith('.partial'))).toBe(true)
        controller.error(new Error('gone'))
      },
    })
    const headers = { 'x-api-key': ACME, 'content-type': 'multipart/form-data; boundary=b' }
    const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
    const answer = await all.server.fetch(new Request('http://localhost/v1/files', init))
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('did not arrive whole')])
    expect(await stored(all)).toEqual(['acme'])
  })

  test.each<[string, string, string | undefined]>([
    [
      'no file',
      '--b\r\ncontent-disposition: form-data; name="expires_in_seconds"\r\n\r\n3600\r\n--b--\r\n',
      'file: is missing',
    ],
    ['an unknown field', '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nx\r\n--b--\r\n', 'is no field'],
    [
      'another file',
      '--b\r\ncontent-disposition: form-data; name="other"; filename="a"\r\n\r\nx\r\n--b--\r\n',
      'is no field',
    ],
    [
      'two files',
      `${'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'.repeat(2)}--b--\r\n`,
      'more than a file',
    ],
    ['no end', '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx', 'not a whole form'],
    ['no form', 'x', undefined],
  ])('with %s is refused, and leaves nothing', async (_what, body, problem) => {
    const all = await setting()
    const headers = { 'x-api-key': ACME, 'content-type': 'multipart/form-data; boundary=b' }
    const answer = await all.ask('POST', '/v1/files', { body, headers })
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining(problem ?? '')])
    expect((await stored(all)).filter((name) => name.includes('file_'))).toEqual([])
  })

  test('without a form, with an idempotency key, or where no files are kept is refused by name', async () => {
    const all = await setting()
    const headers = { 'x-api-key': ACME }
    expect((await all.ask('POST', '/v1/files', { body: {}, headers })).status).toBe(400)
    const keyed = all.files.upload({ file: await named('a') }, { headers: { 'Idempotency-Key': 'k' } })
    await expect(keyed).rejects.toThrow('is not supported for uploads')
    const none = await served()
    const answer = await none.ask('GET', '/v1/files')
    expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('keeps no files')])
  })

  test('of an hour ago that no row knows of is swept, one that runs is not, and a link is not followed', async () => {
    const all = await setting()
    const { id } = await upload(all)
    const folder = join(all.dir, 'acme')
    const old = new Date(all.clock.wall() - 25 * 3_600_000)
    for (const name of ['file_old.partial', 'file_new.partial']) await writeFile(join(folder, name), 'x')
    await utimes(join(folder, 'file_old.partial'), old, old)
    await utimes(join(folder, 'file_new.partial'), new Date(all.clock.wall()), new Date(all.clock.wall()))
    await all.clock.advance(600_000)
    await upload(all)
    expect(await stored(all)).toEqual(expect.arrayContaining([join('acme', 'file_new.partial'), join('acme', id)]))
    expect(await stored(all)).not.toContain(join('acme', 'file_old.partial'))
    const secret = join(all.dir, 'secret')
    await writeFile(secret, 'secret')
    await all.files.delete(id)
    const again = await upload(all)
    const path = join(folder, again.id)
    expect(await readFile(path, 'utf8')).toBe('hello')
    await unlink(path)
    await symlink(secret, path)
    await expect(all.files.download(again.id)).rejects.toMatchObject({ status: 500 })
  })
})

describe('The name of a file', () => {
  test.each([
    ['../../etc/passwd', 'passwd'],
    ['C:\\Users\\me\\a.txt', 'a.txt'],
    ['..', 'unnamed.txt'],
    ['a/', 'unnamed.txt'],
    ['Übersicht (1).pdf', 'Übersicht (1).pdf'],
    ['x'.repeat(255), 'x'.repeat(255)],
  ])('%s is kept as %s', (given, kept) => {
    expect(nameOf(given, 'text/plain')).toBe(kept)
  })

  test.each(['a\0b', 'a\nb', 'a\u202eb', '\ud800', 'ü'.repeat(128)])('%j is refused', (given) => {
    expect(() => nameOf(given, 'text/plain')).toThrow('file: its name has')
  })
})
