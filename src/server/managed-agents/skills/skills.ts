import type { Clock } from '../../../clock.ts'
import { formatWall } from '../../../clock.ts'
import type { Resource, ResourceStore } from '../../../store/api-store.ts'
import { ApiError } from '../../errors.ts'
import type { Quotas } from '../../limits.ts'
import { LATEST } from '../definition.ts'
import { PREFIXES, newId } from '../ids.ts'
import { changeKept, listKept, toRow } from '../kept.ts'
import type { Page } from '../pages.ts'
import { rest } from '../pages.ts'
import { MAX_SKILL_BYTES } from './skill-contents.ts'
import type { KeptSkill, SkillContents, SkillFile } from './skill-contents.ts'
import { readSkillForm } from './skill-form.ts'
import { LONGEST_NAME, SKILL_NAME } from './skill-text.ts'
import { keepNewest } from '../../../newest.ts'

/** A skill as the wire shows it. */
export interface WireSkill {
  type: 'skill'
  id: string
  display_name: string
  latest_version_id: string
  source: { type: 'custom' }
  created_at: string
  updated_at: string
}

interface StoredSkill extends WireSkill {
  /** What all its versions are called. */
  name: string
  archived_at: null
}

export interface WireSkillVersion {
  type: 'skill_version'
  id: string
  skill_id: string
  name: string
  description: string
  created_at: string
}

export interface StoredVersion extends WireSkillVersion {
  /** Where its content lists its files. */
  index: KeptSkill['index']
  updated_at: string
  archived_at: null
}

interface SkillsContext {
  store: ResourceStore
  /** Undefined: this server keeps no files. */
  contents: SkillContents | undefined
  quotas: Pick<Quotas, 'define'>
  clock: Clock
  warn: (message: string, error: unknown) => void
}

interface ListRequest {
  page: string | undefined
  limit: number
}

/** What a form has beside its files. */
const FORM_BYTES = 2 ** 20

/** Nothing that is being uploaded is older. */
const LEFTOVER_MS = 24 * 60 * 60_000

const SWEEP_MS = 60 * 60_000

/** Tenants whose folders were swept are remembered, the newest of them. */
const MAX_TENANTS = 10_000

const PAGE = { limit: 200, maxSize: 2 ** 20 }

/** The skills of tenants and their versions: what is known of them is in the store, their files are on the disk of this host. */
export class Skills {
  readonly #context: SkillsContext
  /** When a tenant's folder was swept. */
  readonly #swept = new Map<string, number>()
  /** Uploads of a tenant that are being read: they count before they exist. */
  readonly #coming = new Map<string, number>()

  constructor(context: SkillsContext) {
    this.#context = context
  }

  /** Takes a skill with its first version from a form. Throws ApiError. */
  async create(tenant: string, request: Request): Promise<WireSkill> {
    const { store } = this.#context
    const skillId = newId('skill')
    return this.#upload(tenant, request, undefined, async (versionId, kept, displayName) => {
      const name = nameOf(kept)
      const version = this.#version(versionId, skillId, name, kept)
      const skill: StoredSkill = {
        type: 'skill',
        id: skillId,
        display_name: displayName ?? name,
        latest_version_id: versionId,
        source: { type: 'custom' },
        created_at: version.created_at,
        updated_at: version.created_at,
        name,
        archived_at: null,
      }
      await store.create(toRow('skill_version', tenant, version, skillId))
      await store.create(toRow('skill', tenant, skill))
      return shown(skill)
    })
  }

  /** Takes another version, which is the latest from then on. Throws ApiError. */
  async addVersion(tenant: string, id: string, request: Request): Promise<WireSkillVersion> {
    const skill = await this.#find(tenant, id)
    const { store } = this.#context
    return this.#upload(tenant, request, skill, async (versionId, kept) => {
      const given = nameOf(kept)
      if (given !== skill.name)
        throw new ApiError(
          'invalid_request_error',
          `SKILL.md: is called "${given}", and the skill "${skill.name}"; a name stays with its skill`,
        )
      const version = this.#version(versionId, id, given, kept)
      await store.create(toRow('skill_version', tenant, version, id))
      const changed = await this.#changeLatest(tenant, id, versionId)
      if (changed !== undefined) return shownVersion(version)
      await store.remove('skill_version', tenant, versionId)
      throw notFound('skill', id)
    })
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  async retrieve(tenant: string, id: string): Promise<WireSkill> {
    return shown(await this.#find(tenant, id))
  }

  /** Newest first. */
  async list(tenant: string, request: ListRequest): Promise<Page<WireSkill>> {
    this.#contents()
    const found = await listKept<StoredSkill>(this.#context.store, {
      kind: 'skill',
      tenant,
      parent: undefined,
      ...all(request),
    })
    return { ...found, items: found.items.map(shown) }
  }

  /** Removes a skill with all its versions. Sessions keep the files that they were given. Throws ApiError. */
  async delete(tenant: string, id: string): Promise<{ type: 'skill_deleted'; id: string }> {
    await this.#find(tenant, id)
    // First what leads to them.
    await this.#context.store.remove('skill', tenant, id)
    for (;;) {
      const { rows, more } = await this.#versionRows(tenant, id)
      for (const row of rows) await this.#remove(tenant, row.id)
      if (!more) return { type: 'skill_deleted', id }
    }
  }

  /** One version; `latest` names the newest. Throws ApiError (not_found_error), also for another tenant's. */
  async version(tenant: string, id: string, version: string): Promise<StoredVersion> {
    const { latest_version_id: latest } = await this.#find(tenant, id)
    const versionId = version === LATEST ? latest : version
    const row = await this.#context.store.get('skill_version', tenant, versionId)
    const found = row && (JSON.parse(row.body) as StoredVersion)
    if (found?.skill_id !== id) throw notFound('skill version', version)
    return found
  }

  async retrieveVersion(tenant: string, id: string, version: string): Promise<WireSkillVersion> {
    return shownVersion(await this.version(tenant, id, version))
  }

  /** Newest first. Throws ApiError. */
  async versions(tenant: string, id: string, request: ListRequest): Promise<Page<WireSkillVersion>> {
    await this.#find(tenant, id)
    const found = await listKept<StoredVersion>(this.#context.store, {
      kind: 'skill_version',
      tenant,
      parent: id,
      ...all(request),
    })
    return { ...found, items: found.items.map(shownVersion) }
  }

  /** Removes a version that is not the only one. Throws ApiError. */
  async deleteVersion(
    tenant: string,
    id: string,
    version: string,
  ): Promise<{ type: 'skill_version_deleted'; id: string }> {
    const { id: versionId } = await this.version(tenant, id, version)
    const { rows } = await this.#versionRows(tenant, id)
    const other = rows.find((row) => row.id !== versionId)
    if (other === undefined)
      throw new ApiError(
        'invalid_request_error',
        `${version} is the only version of skill ${id}; delete the skill, or add another version first`,
      )
    await changeKept<StoredSkill>(this.#context.store, { kind: 'skill', tenant, id }, (skill) =>
      skill.latest_version_id === versionId
        ? { ...skill, latest_version_id: other.id, updated_at: this.#now() }
        : skill,
    )
    await this.#remove(tenant, versionId)
    return { type: 'skill_version_deleted', id: versionId }
  }

  /** The files of a version, and how to read one. Throws ApiError. */
  async content(
    tenant: string,
    { id, index }: Pick<StoredVersion, 'id' | 'index'>,
  ): Promise<{ files: SkillFile[]; read: (file: SkillFile) => AsyncGenerator<Buffer> }> {
    const contents = this.#contents()
    const files = await contents.files(tenant, id, index)
    if (files === undefined)
      throw new ApiError(
        'not_found_error',
        `the files of skill version ${id} are not at this server; another host may have them`,
      )
    return { files, read: (file) => contents.read(tenant, id, file) }
  }

  #contents(): SkillContents {
    const { contents } = this.#context
    if (contents !== undefined) return contents
    throw new ApiError('not_found_error', '/v1/skills: this server keeps no files; give createServer() a fileDir')
  }

  #now(): string {
    return formatWall(this.#context.clock.wall())
  }

  async #find(tenant: string, id: string): Promise<StoredSkill> {
    this.#contents()
    const row = await this.#context.store.get('skill', tenant, id)
    if (row === undefined) throw notFound('skill', id)
    return JSON.parse(row.body) as StoredSkill
  }

  #changeLatest(tenant: string, id: string, versionId: string): Promise<StoredSkill | undefined> {
    const at = this.#now()
    return changeKept<StoredSkill>(this.#context.store, { kind: 'skill', tenant, id }, (skill) => ({
      ...skill,
      latest_version_id: versionId,
      updated_at: at,
    }))
  }

  #version(id: string, skillId: string, name: string, { text, index }: KeptSkill): StoredVersion {
    const at = this.#now()
    return {
      type: 'skill_version',
      id,
      skill_id: skillId,
      name,
      description: text.description,
      created_at: at,
      index,
      updated_at: at,
      archived_at: null,
    }
  }

  /** Reads a form and keeps what is in it; what cannot be kept leaves nothing. */
  async #upload<T>(
    tenant: string,
    request: Request,
    skill: StoredSkill | undefined,
    keep: (versionId: string, kept: KeptSkill, displayName: string | undefined) => Promise<T>,
  ): Promise<T> {
    const contents = this.#contents()
    const { quotas, store } = this.#context
    const coming = this.#coming.get(tenant) ?? 0
    this.#coming.set(tenant, coming + 1)
    const versionId = newId('skillVersion')
    try {
      quotas.define(tenant, 'skills', (await store.count('skill_version', tenant)) + coming)
      if (Number(request.headers.get('content-length') ?? 0) > MAX_SKILL_BYTES + FORM_BYTES)
        throw new ApiError('request_too_large', 'the files of a skill have at most 30 MiB together')
      await this.#sweep(tenant)
      const { displayName, kept } = await readSkillForm(request, {
        takesName: skill === undefined,
        keep: (parts) => contents.write(tenant, versionId, parts),
      })
      return await keep(versionId, kept, displayName)
    } catch (error) {
      await contents.remove(tenant, versionId)
      throw error
    } finally {
      const left = (this.#coming.get(tenant) ?? 1) - 1
      if (left === 0) this.#coming.delete(tenant)
      else this.#coming.set(tenant, left)
    }
  }

  async #remove(tenant: string, versionId: string): Promise<void> {
    // First what leads to it: a content without is swept.
    await this.#context.store.remove('skill_version', tenant, versionId)
    await this.#context.contents?.remove(tenant, versionId)
  }

  #versionRows(
    tenant: string,
    parent: string | undefined,
    after?: Pick<Resource, 'createdAt' | 'id'>,
  ): ReturnType<ResourceStore['list']> {
    return this.#context.store.list({ kind: 'skill_version', tenant, parent, order: 'desc', after, ...PAGE })
  }

  /** Removes now and then what uploads that failed have left. */
  async #sweep(tenant: string): Promise<void> {
    const { clock, contents, warn } = this.#context
    if (clock.now() - (this.#swept.get(tenant) ?? -Infinity) < SWEEP_MS) return
    this.#swept.delete(tenant)
    this.#swept.set(tenant, clock.now())
    keepNewest(this.#swept, MAX_TENANTS)
    const known = new Set<string>()
    let after: Pick<Resource, 'createdAt' | 'id'> | undefined
    for (;;) {
      const { rows, more } = await this.#versionRows(tenant, undefined, after)
      for (const { id } of rows) known.add(id)
      after = rows.at(-1)
      if (!more) break
      await rest()
    }
    await contents
      ?.sweep(tenant, PREFIXES.skillVersion, known, clock.wall() - LEFTOVER_MS)
      .catch((error: unknown) => warn('what uploads of skills have left could not be removed', error))
  }
}

const all = ({ page, limit }: ListRequest) => ({
  page,
  limit,
  includeArchived: false,
  from: undefined,
  to: undefined,
})

/** As SKILL.md says, or else its folder. Throws ApiError. */
function nameOf({ text, folder }: KeptSkill): string {
  if (text.name !== undefined) return text.name
  if (folder !== undefined && folder.length <= LONGEST_NAME && SKILL_NAME.test(folder)) return folder
  throw new ApiError(
    'invalid_request_error',
    `SKILL.md: has no name, and its folder cannot give one; write a name of at most ${LONGEST_NAME} lower-case letters, digits and single "-"`,
  )
}

const shown = ({ name: _name, archived_at: _archived, ...skill }: StoredSkill): WireSkill => skill

const shownVersion = ({
  index: _index,
  updated_at: _updated,
  archived_at: _archived,
  ...version
}: StoredVersion): WireSkillVersion => version

const notFound = (what: string, id: string): ApiError => new ApiError('not_found_error', `${what} ${id} was not found`)
