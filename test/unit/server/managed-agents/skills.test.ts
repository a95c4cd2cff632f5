import { readFile, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'
import Anthropic, { BadRequestError, NotFoundError, toFile } from '@anthropic-ai/sdk'
import type { Uploadable } from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { readSkillText, skillTextOf } from '../../../../src/server/managed-agents/skills/skill-text.ts'
import { skillPath, skillTree } from '../../../../src/server/managed-agents/skills/skill-tree.ts'
import type { ServerOptions } from '../../../../src/server/options.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'
import { temporaryFolder } from '../../../fixtures/temporary-folder.ts'

const [ACME, BETA] = ['a'.repeat(24), 'b'.repeat(24)]

interface Setting extends ServedFakes {
  dir: string
  client: Anthropic
  other: Anthropic
}

async function setting(options: ServerOptions = {}): Promise<Setting> {
  const dir = join(await temporaryFolder(), 'files')
  const keys = [
    { tenant: 'acme', sha256: hashKey(ACME) },
    { tenant: 'beta', sha256: hashKey(BETA) },
  ]
  const all = await served({ fileDir: dir, keys, managedAgents: { define: true }, ...options })
  const as = (apiKey: string): Anthropic =>
    new Anthropic({
      apiKey,
      baseURL: 'http://localhost',
      maxRetries: 0,
      fetch: async (url, init) => all.server.fetch(new Request(url as string, init as RequestInit)),
    })
  return { ...all, dir, client: as(ACME), other: as(BETA) }
}

const text = (description = 'Writes reports', name = 'report', rest = 'Be brief.\n'): string =>
  `---\nname: ${name}\ndescription: ${description}\n---\n${rest}`

type Contents = Readonly<Record<string, string>>

const filesOf = (contents: Contents): Promise<Uploadable[]> =>
  Promise.all(Object.entries(contents).map(([path, content]) => toFile(Buffer.from(content), path)))

const upload = async ({ client }: Pick<Setting, 'client'>, contents: Contents = { 'report/SKILL.md': text() }) =>
  client.beta.skills.create({ files: await filesOf(contents) })

const stored = ({ dir }: Setting): Promise<string[]> => readdir(dir, { recursive: true }).catch(() => [])

interface Zipped {
  path: string
  content: string
  /** What the archive says of it, if that is not so. */
  size?: number
  mode?: number
  flags?: number
}

function zip(files: readonly Zipped[], { pack = true }: { pack?: boolean } = {}): Buffer {
  const bodies: Buffer[] = []
  const list: Buffer[] = []
  let at = 0
  for (const { path, content, size = Buffer.byteLength(content), mode = 0o100644, flags = 0 } of files) {
    const name = Buffer.from(path)
    const data = pack ? deflateRawSync(content) : Buffer.from(content)
    const facts = Buffer.alloc(16)
    facts.writeUInt16LE(pack ? 8 : 0, 0)
    facts.writeUInt32LE(crc32(content), 6)
    facts.writeUInt32LE(data.length, 10)
    const tail = Buffer.alloc(6)
    tail.writeUInt32LE(size, 0)
    tail.writeUInt16LE(name.length, 4)
    const start = Buffer.from([20, 0, flags, 0])
    const packed = facts.subarray(0, 14)
    const local = Buffer.concat([Buffer.from('PK\u0003\u0004'), start, packed, tail, Buffer.alloc(2), name])
    const end = Buffer.alloc(16)
    end.writeUInt32LE((mode << 16) >>> 0, 8)
    end.writeUInt32LE(at, 12)
    list.push(Buffer.concat([Buffer.from('PK\u0001\u0002'), Buffer.from([20, 3]), start, packed, tail, end, name]))
    bodies.push(local, data)
    at += local.length + data.length
  }
  const central = Buffer.concat(list)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(files.length, 4)
  end.writeUInt16LE(files.length, 6)
  end.writeUInt32LE(central.length, 8)
  end.writeUInt32LE(at, 12)
  return Buffer.concat([...bodies, central, Buffer.from('PK\u0005\u0006'), end])
}

describe('A skill', () => {
  test('is created from files, read, listed, downloaded and deleted', async () => {
    const all = await setting()
    const { skills } = all.client.beta
    const made = await skills.create({
      files: await filesOf({ 'report/SKILL.md': text(), 'report/forms/a.txt': 'Dear', 'report/empty': '' }),
      display_name: 'Reports of Acme',
    })
    expect(made).toEqual({
      type: 'skill',
      id: expect.stringMatching(/^skill_\w{24}$/) as string,
      display_name: 'Reports of Acme',
      latest_version_id: expect.stringMatching(/^skillver_\w{24}$/) as string,
      source: { type: 'custom' },
      created_at: expect.any(String) as string,
      updated_at: expect.any(String) as string,
    })
    expect(await skills.retrieve(made.id)).toEqual(made)
    expect((await skills.list({ source: 'custom' })).data).toEqual([made])
    expect((await skills.list({ source: 'anthropic' })).data).toEqual([])
    const version = await skills.versions.retrieve(made.latest_version_id, { skill_id: made.id })
    expect(version).toEqual({
      type: 'skill_version',
      id: made.latest_version_id,
      skill_id: made.id,
      name: 'report',
      description: 'Writes reports',
      created_at: made.created_at,
    })
    const answer = await skills.versions.download(version.id, { skill_id: made.id })
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="report.zip"')
    const archive = Buffer.from(await answer.arrayBuffer())
    expect(answer.headers.get('content-length')).toBe(String(archive.length))
    // What comes out goes in again.
    const again = await skills.create({ files: [await toFile(archive, 'report.zip')] })
    const copy = await skills.versions.download('latest', { skill_id: again.id })
    expect(Buffer.from(await copy.arrayBuffer())).toEqual(archive)
    for (const { id } of [made, again]) expect(await skills.delete(id)).toEqual({ type: 'skill_deleted', id })
    await expect(skills.retrieve(made.id)).rejects.toThrow(NotFoundError)
    await expect(skills.versions.retrieve(version.id, { skill_id: made.id })).rejects.toThrow(NotFoundError)
    expect(await stored(all)).toEqual(['acme'])
  })

  test('has versions, of which the newest is the latest, and never none', async () => {
    const all = await setting()
    const { versions } = all.client.beta.skills
    const { id: skill_id, latest_version_id: first } = await upload(all)
    await all.clock.advance(1)
    const files = await filesOf({ 'SKILL.md': text('Writes long reports') })
    const second = await versions.create(skill_id, { files })
    expect((await all.client.beta.skills.retrieve(skill_id)).latest_version_id).toBe(second.id)
    const listed: string[] = []
    for await (const { id } of versions.list(skill_id, { limit: 1 })) listed.push(id)
    expect(listed).toEqual([second.id, first])
    const renamed = versions.create(skill_id, { files: await filesOf({ 'SKILL.md': text('x', 'other') }) })
    await expect(renamed).rejects.toThrow('a name stays with its skill')
    expect(await versions.delete(second.id, { skill_id })).toEqual({ type: 'skill_version_deleted', id: second.id })
    expect((await all.client.beta.skills.retrieve(skill_id)).latest_version_id).toBe(first)
    await expect(versions.delete(first, { skill_id })).rejects.toThrow('is the only version')
    expect((await stored(all)).filter((name) => name.includes('skillver_'))).toEqual([join('acme', first)])
  })

  test('is another tenant’s alone, and goes with its tenant', async () => {
    const all = await setting()
    const { id, latest_version_id: version } = await upload(all)
    const { skills } = all.other.beta
    const files = await filesOf({ 'SKILL.md': text() })
    for (const attempt of [
      () => skills.retrieve(id),
      () => skills.delete(id),
      () => skills.versions.create(id, { files }),
      () => skills.versions.list(id),
      () => skills.versions.retrieve(version, { skill_id: id }),
      () => skills.versions.delete(version, { skill_id: id }),
      () => skills.versions.download(version, { skill_id: id }),
    ])
      await expect(attempt()).rejects.toThrow(NotFoundError)
    expect((await skills.list()).data).toEqual([])
    const mine = await all.other.beta.skills.create({ files: await filesOf({ 'SKILL.md': text() }) })
    // A version is found by its own skill alone.
    const { id: twin } = await upload(all)
    const crossed = all.client.beta.skills.versions.retrieve(version, { skill_id: twin })
    await expect(crossed).rejects.toThrow(NotFoundError)
    await all.pool.eraseTenant('acme')
    await expect.poll(async () => (await all.client.beta.skills.list()).data).toEqual([])
    await expect
      .poll(async () => (await stored(all)).toSorted())
      .toEqual(['acme', 'beta', join('beta', mine.latest_version_id)])
  })

  test('is refused beyond the tenant’s limit, and one without files or a folder for them by name', async () => {
    const all = await setting({ tenantLimits: { skills: 2 } })
    const { id } = await upload(all)
    await all.client.beta.skills.versions.create(id, { files: await filesOf({ 'SKILL.md': text() }) })
    await expect(upload(all)).rejects.toThrow('its 2 versions of skills; delete some')
    await all.client.beta.skills.delete(id)
    const both = await Promise.allSettled([upload(all), upload(all), upload(all)])
    expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    const none = await served()
    expect(await (await none.ask('GET', '/v1/skills')).text()).toContain('keeps no files')
  })

  test('that an upload of yesterday has left is swept, with files kept', async () => {
    const all = await setting()
    const file = await all.client.beta.files.upload({ file: await toFile(Buffer.from('x'), 'x') })
    const { latest_version_id: kept } = await upload(all)
    const old = new Date(all.clock.wall() - 25 * 3_600_000)
    for (const name of ['skillver_old.zip', 'skillver_old.partial', kept, file.id]) {
      if (name.startsWith('skillver_old')) await writeFile(join(all.dir, 'acme', name), 'x')
      await utimes(join(all.dir, 'acme', name), old, old)
    }
    await all.clock.advance(3_600_000)
    const { latest_version_id: next } = await upload(all)
    await all.client.beta.files.upload({ file: await toFile(Buffer.from('x'), 'x') })
    const names = await readdir(join(all.dir, 'acme'))
    expect(names).toEqual(expect.arrayContaining([kept, next, file.id]))
    expect(names.filter((name) => name.includes('old'))).toEqual([])
  })
})

describe('An upload', () => {
  test.each<[string, Contents, string]>([
    ['no SKILL.md', { 'report/readme.md': 'x' }, 'none is a SKILL.md'],
    ['two folders', { 'report/SKILL.md': text(), 'other/a.txt': 'x' }, 'all files of a skill are in one folder'],
    ['a way out', { 'report/SKILL.md': text(), 'report/../../a': 'x' }, 'leads out of its folder'],
    ['a file that is a folder', { 'a/SKILL.md': text(), 'a/b': 'x', 'a/b/c': 'x' }, 'is a file and a folder'],
    ['settings of the CLI', { 'a/SKILL.md': text(), 'a/.Claude/settings.json': '{}' }, 'is no part of a skill'],
    ['no front matter', { 'a/SKILL.md': 'Do it' }, 'must begin with'],
    ['no description', { 'a/SKILL.md': '---\nname: a\n---\n' }, 'SKILL.md: description'],
    ['a bad name', { 'a/SKILL.md': text('x', 'My Skill') }, 'SKILL.md: name'],
    ['no name', { 'My Skill/SKILL.md': '---\ndescription: x\n---\n' }, 'has no name'],
    ['hooks', { 'a/SKILL.md': '---\nname: a\ndescription: x\nhooks: {}\n---\n' }, 'hooks is no field'],
    ['bad YAML', { 'a/SKILL.md': '---\nname: [\n---\n' }, 'is not YAML'],
    ['a bomb of aliases', { 'a/SKILL.md': `---\n${aliases()}\n---\n` }, 'cannot be read'],
    ['no text', { 'a/SKILL.md': text('x', 'a', '\ud800') + '\u0000'.repeat(300_000) }, 'has more than 256 KiB'],
  ])('with %s is refused, and leaves nothing', async (_what, contents, problem) => {
    const all = await setting()
    await expect(upload(all, contents)).rejects.toThrow(problem)
    await expect(upload(all, contents)).rejects.toThrow(BadRequestError)
    expect(await stored(all)).toEqual((await stored(all)).filter((name) => name === 'acme'))
    expect((await all.client.beta.skills.list()).data).toEqual([])
  })

  test('of too many bytes or files is refused', async () => {
    const all = await setting()
    const large = upload(all, { 'SKILL.md': text(), large: 'x'.repeat(30 * 2 ** 20) })
    await expect(large).rejects.toMatchObject({ status: 413 })
    const many = Object.fromEntries(Array.from({ length: 501 }, (_, index) => [`f${index}`, 'x']))
    await expect(upload(all, { 'SKILL.md': text(), ...many })).rejects.toThrow('are more than 500')
    const archive = Array.from({ length: 502 }, (_, index) => ({ path: `f${index}`, content: 'x' }))
    const packed = all.client.beta.skills.create({ files: [await toFile(zip(archive), 'a.zip')] })
    await expect(packed).rejects.toThrow('are more than 500')
    expect(await stored(all)).toEqual(['acme'])
  })

  test('that breaks off leaves nothing', async () => {
    const all = await setting()
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        const head = '--b\r\ncontent-disposition: form-data; name="files[]"; filename="a/SKILL.md"\r\n\r\n'
        controller.enqueue(Buffer.from(head + text() + 'x'.repeat(100_000)))
      },
      async pull(controller) {
        await expect.poll(async () => (await stored(all)).some((name) => name.endsWith('.partial'))).toBe(true)
        controller.error(new Error('gone'))
      },
    })
    const headers = { 'x-api-key': ACME, 'content-type': 'multipart/form-data; boundary=b' }
    const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
    const answer = await all.server.fetch(new Request('http://localhost/v1/skills', init))
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('did not arrive whole')])
    expect(await stored(all)).toEqual(['acme'])
  })

  test.each<[string, string, string]>([
    ['an unknown field', '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nx\r\n--b--\r\n', 'is no field'],
    [
      'another file',
      '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n',
      'no field',
    ],
    ['nothing', '--b--\r\n', 'files: is missing'],
    [
      'no end',
      '--b\r\ncontent-disposition: form-data; name="files[]"; filename="SKILL.md"\r\n\r\nx',
      'not a whole form',
    ],
  ])('with %s is refused by name', async (_what, body, problem) => {
    const all = await setting()
    const headers = { 'x-api-key': ACME, 'content-type': 'multipart/form-data; boundary=b' }
    const answer = await all.ask('POST', '/v1/skills', { body, headers })
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining(problem)])
    expect((await stored(all)).filter((name) => name.includes('skillver_'))).toEqual([])
  })

  test('takes a display name of one line', async () => {
    const all = await setting()
    const files = await filesOf({ 'SKILL.md': text() })
    for (const display_name of ['', 'a\nb', 'x'.repeat(256)])
      await expect(all.client.beta.skills.create({ files, display_name })).rejects.toThrow('display_name: must be')
    const { id } = await upload(all)
    const headers = { 'x-api-key': ACME, 'content-type': 'multipart/form-data; boundary=b' }
    const body = '--b\r\ncontent-disposition: form-data; name="display_name"\r\n\r\nx\r\n--b--\r\n'
    const answer = await all.ask('POST', `/v1/skills/${id}/versions`, { body, headers })
    expect(await answer.text()).toContain('is no field of this request; it takes files[]')
  })
})

describe('A zip archive', () => {
  const main = { path: 'report/SKILL.md', content: text() }

  test.each([true, false])('is taken, packed: %s, without what a file manager has added', async (pack) => {
    const all = await setting()
    const archive = zip(
      [main, { path: 'report/a.txt', content: '-'.repeat(100_000) }, { path: '__MACOSX/report/._a', content: 'x' }],
      { pack },
    )
    const { id } = await all.client.beta.skills.create({ files: [await toFile(archive, 'report.zip')] })
    const answer = await all.client.beta.skills.versions.download('latest', { skill_id: id })
    const back = Buffer.from(await answer.arrayBuffer()).toString('latin1')
    expect(back.match(/report\/(?:SKILL.md|a.txt)/g)).toEqual([
      'report/SKILL.md',
      'report/a.txt',
      'report/SKILL.md',
      'report/a.txt',
    ])
    expect(back).toContain('-'.repeat(100_000))
  })

  test.each<[string, Zipped[] | Buffer, string]>([
    ['a link', [main, { path: 'report/a', content: '/etc/passwd', mode: 0o120777 }], 'a link or no plain file'],
    ['a device', [main, { path: 'report/a', content: '', mode: 0o020666 }], 'a link or no plain file'],
    ['a way out', [main, { path: '../../a', content: 'x' }], 'leads out of its folder'],
    ['an encrypted file', [main, { path: 'report/a', content: 'x', flags: 1 }], 'is encrypted'],
    ['more than it says', [{ ...main, size: 10 }], 'than it says'],
    ['less than it says', [{ ...main, size: 10_000 }], 'is damaged'],
    ['too much', [main, { path: 'report/a', content: '\0'.repeat(31 * 2 ** 20) }], 'at most 30 MiB together'],
    ['no end', zip([main]).subarray(0, -22), 'has no end'],
    ['no files', zip([]), 'is missing'],
    ['a damaged file', spoiled(zip([main])), 'is damaged'],
    ['a name twice', [main, main], 'is there twice'],
  ])('with %s is refused, and leaves nothing', async (what, content, problem) => {
    const all = await setting()
    const archive = Buffer.isBuffer(content) ? content : zip(content)
    const head = what === 'no files' ? Buffer.concat([Buffer.from('PK\u0003\u0004'), archive]) : archive
    const taken = all.client.beta.skills.create({ files: [await toFile(head, 'a.zip')] })
    await expect(taken).rejects.toThrow(what === 'no files' ? 'none is a SKILL.md' : problem)
    expect(await stored(all)).toEqual(['acme'])
  })

  test('comes alone', async () => {
    const all = await setting()
    const files = [await toFile(zip([main]), 'a.zip'), await toFile(Buffer.from('x'), 'b')]
    await expect(all.client.beta.skills.create({ files })).rejects.toThrow('comes alone')
    expect(await stored(all)).toEqual(['acme'])
  })
})

describe('A session', () => {
  const agentWith = async ({ client }: Setting, skills: { skill_id: string; version?: string }[]) =>
    client.beta.agents.create({
      name: 'Writer',
      model: 'claude-sonnet-5',
      skills: skills.map((skill) => ({ type: 'custom', ...skill })),
    })

  const begin = ({ client }: Setting, agent: string) =>
    client.beta.sessions.create({ agent, environment_id: 'env_local' })

  const placed = async ({ pool }: Setting, id: string, path: string): Promise<string> => {
    const { cwd } = await (await pool.session(id, { tenant: 'acme' })).info()
    return readFile(join(cwd ?? '', '.agent-skills', path), 'utf8')
  }

  const say = ({ client }: Setting, id: string) =>
    client.beta.sessions.events.send(id, {
      events: [{ type: 'user.message', content: [{ type: 'text', text: 'Go' }] }],
    })

  test('has the newest version when it begins, and a pinned one stays', async () => {
    const all = await setting()
    const { id: skill_id, latest_version_id: first } = await upload(all, {
      'report/SKILL.md': '---\nname: report\ndescription: "One: a"\nallowed-tools: Bash\n---\nFirst',
      'report/a.txt': 'A',
    })
    const newest = await agentWith(all, [{ skill_id }])
    const pinned = await agentWith(all, [{ skill_id, version: first }])
    expect([newest, pinned].map(({ skills }) => skills)).toEqual([
      [{ type: 'custom', skill_id, version: 'latest' }],
      [{ type: 'custom', skill_id, version: first }],
    ])
    const before = await begin(all, newest.id)
    await all.clock.advance(1)
    const files = await filesOf({ 'SKILL.md': text('Two') })
    const { id: second } = await all.client.beta.skills.versions.create(skill_id, { files })
    const after = await begin(all, newest.id)
    const old = await begin(all, pinned.id)
    expect([before, after, old].map(({ agent }) => agent.skills)).toEqual(
      [first, second, first].map((version) => [{ type: 'custom', skill_id, version }]),
    )
    // Of the front matter, what gives no permissions.
    expect(await placed(all, before.id, 'skills/report/SKILL.md')).toBe(
      '---\nname: "report"\ndescription: "One: a"\n---\nFirst',
    )
    expect(await placed(all, before.id, 'skills/report/a.txt')).toBe('A')
    expect(await placed(all, old.id, 'skills/report/a.txt')).toBe('A')
    await expect(placed(all, after.id, 'skills/report/a.txt')).rejects.toThrow('ENOENT')
    await say(all, after.id)
    const { spec } = await all.driver.process(0)
    expect(spec.options).toMatchObject({
      plugins: [{ type: 'local', path: '.agent-skills' }],
      skills: ['skills:report'],
      managedSettings: { allowManagedHooksOnly: true },
      tools: ['Skill'],
    })
    // The files are the session's: it runs without the skill, too.
    await all.client.beta.skills.delete(skill_id)
    expect(await placed(all, before.id, 'skills/report/a.txt')).toBe('A')
    await expect(begin(all, newest.id)).rejects.toThrow(`skills: skill ${skill_id} was not found`)
    expect((await all.client.beta.sessions.list()).data).toHaveLength(3)
  })

  test('takes skills as an override, and agents refuse those that they cannot have', async () => {
    const all = await setting()
    const { id: skill_id } = await upload(all)
    const { id: twin } = await upload(all)
    const foreign = await all.other.beta.skills.create({ files: await filesOf({ 'SKILL.md': text() }) })
    const plain = await agentWith(all, [])
    const { agent } = await all.client.beta.sessions.create({
      agent: { type: 'agent_with_overrides', id: plain.id, skills: [{ type: 'custom', skill_id }] },
      environment_id: 'env_local',
    })
    expect(agent.skills).toMatchObject([{ skill_id }])
    for (const [skills, problem] of [
      [[{ skill_id: foreign.id }], `skills: skill ${foreign.id} was not found`],
      [[{ skill_id, version: 'skillver_none' }], 'skills: skill version skillver_none was not found'],
      [[{ skill_id }, { skill_id }], 'is there twice'],
      [[{ skill_id }, { skill_id: twin }], 'two of them are called'],
      [Array.from({ length: 21 }, (_, index) => ({ skill_id: `skill_${index}` })), 'skills'],
    ] as const)
      await expect(agentWith(all, [...skills])).rejects.toThrow(problem)
    const own = all.client.beta.agents.create({
      name: 'x',
      model: 'claude-sonnet-5',
      skills: [{ type: 'anthropic', skill_id: 'xlsx' }],
    })
    await expect(own).rejects.toThrow('this server has none of Anthropic’s own skills')
    const changed = await all.client.beta.agents.update(plain.id, {
      version: 1,
      skills: [{ type: 'custom', skill_id }],
    })
    expect(changed.skills).toHaveLength(1)
    const cleared = await all.client.beta.agents.update(plain.id, { version: 2, skills: null })
    expect(cleared.skills).toEqual([])
  })

  test('lets neither its client nor its agent write into its skills', async () => {
    const all = await setting()
    const { id: skill_id } = await upload(all)
    const agent = await all.client.beta.agents.create({
      name: 'Writer',
      model: 'claude-sonnet-5',
      skills: [{ type: 'custom', skill_id }],
      tools: [{ type: 'agent_toolset_20260401' }],
    })
    const { id } = await begin(all, agent.id)
    const file = await all.client.beta.files.upload({ file: await toFile(Buffer.from('{}'), 'hooks.json') })
    for (const mount_path of ['.agent-skills/hooks/hooks.json', './.Agent-Skills/x']) {
      const mounting = all.client.beta.sessions.resources.add(id, { type: 'file', file_id: file.id, mount_path })
      await expect(mounting).rejects.toThrow('.agent-skills is for skills')
    }
    await say(all, id)
    const { spec } = await all.driver.process(0)
    const [hook] = spec.options.hooks?.PreToolUse?.[0]?.hooks ?? []
    const decide = async (tool_name: string, tool_input: object) => {
      const input = { hook_event_name: 'PreToolUse', tool_name, tool_input, cwd: '/w' }
      const answer = await hook?.(input as never, 'call', { signal: new AbortController().signal })
      return (answer as { hookSpecificOutput: { permissionDecision: string } }).hookSpecificOutput.permissionDecision
    }
    expect(await decide('Write', { file_path: '.agent-skills/hooks/hooks.json' })).toBe('deny')
    expect(await decide('Edit', { file_path: '/w/sub/../.agent-skills/skills/report/SKILL.md' })).toBe('deny')
    expect(await decide('Write', { file_path: '/w/a.txt' })).toBe('allow')
    expect(await decide('Skill', { skill: 'skills:report' })).toBe('allow')
  })

  test('that comes from an archive gets its skills from its own tenant, before its first message', async () => {
    const all = await setting()
    const { id: skill_id, latest_version_id: version } = await upload(all)
    const agent = await agentWith(all, [{ skill_id }])
    const { id } = await begin(all, agent.id)
    const lines: string[] = []
    for await (const line of all.pool.exportSession(id, { tenant: 'acme' })) lines.push(line)
    await all.client.beta.sessions.delete(id)
    const back = async () =>
      all.pool.importSession(
        (async function* () {
          yield* lines
        })(),
        { tenant: 'acme' },
      )
    const session = await back()
    const { cwd } = await session.info()
    const hostile = join(cwd ?? '', '.agent-skills', 'hooks.json')
    await writeFile(hostile, '{}')
    expect((await all.client.beta.sessions.retrieve(id)).agent.skills).toMatchObject([{ skill_id, version }])
    await say(all, id)
    const { spec } = await all.driver.process(0)
    expect(spec.options).toMatchObject({ skills: ['skills:report'] })
    await expect(readFile(hostile)).rejects.toThrow('ENOENT')
    expect(await placed(all, id, 'skills/report/SKILL.md')).toContain('Be brief.')
    await all.client.beta.sessions.delete(id)
    await all.client.beta.skills.delete(skill_id)
    await back()
    await expect(say(all, id)).rejects.toThrow(`skills: skill ${skill_id} was not found`)
  })
})

describe('The text of a skill', () => {
  test('is read with Windows line ends and a mark, and written for processes without the rest', () => {
    const read = readSkillText(
      Buffer.from('\uFEFF---\r\nname: a\r\ndescription: >\r\n  One\r\n  two\r\n---\r\nBody\r\n'),
    )
    expect(read).toEqual({ name: 'a', description: 'One two', instructions: 'Body\r\n' })
    const written = skillTextOf('a', { ...read, description: 'x\n---\nhooks: y' })
    expect(readSkillText(Buffer.from(written))).toEqual({
      name: 'a',
      description: 'x\n---\nhooks: y',
      instructions: 'Body\r\n',
    })
  })

  test('is found at the top of its folder, whatever else is called so', () => {
    const files = ['a/b/SKILL.md', 'a/b/c/SKILL.md', 'a/b/d'].map((path) => ({ path }))
    expect(skillTree(files)).toEqual({
      folder: 'b',
      files: [{ path: 'SKILL.md' }, { path: 'c/SKILL.md' }, { path: 'd' }],
    })
    expect(skillPath('/tmp/./x')).toBe('tmp/x')
    expect(skillPath('a/.DS_Store')).toBeUndefined()
    for (const path of ['', 'a\\b', 'a\u202eb', 'x'.repeat(256)]) expect(() => skillPath(path)).toThrow('files:')
  })
})

function aliases(): string {
  const lines = ['a0: &a0 [x, x]']
  for (let index = 1; index < 12; index += 1) lines.push(`a${index}: &a${index} [*a${index - 1}, *a${index - 1}]`)
  return lines.join('\n')
}

/** With another byte in the middle of its first file. */
function spoiled(archive: Buffer): Buffer {
  const copy = Buffer.from(archive)
  copy[60] = (copy[60] ?? 0) ^ 0xff
  return copy
}
