import type { Session, Turn } from '../../../index.ts'
import type { AgentSkill } from '../definition.ts'
import type { MemoryMounts } from '../memory/memory-mounts.ts'
import type { SkillMounts } from '../skills/skill-mounts.ts'
import type { StoredVersion } from '../skills/skills.ts'
import type { FileMount, FileResource, Mounting } from './file-resources.ts'
import type { StoredSession } from './session-resource.ts'
import type { SessionCreate } from './session-schema.ts'
import { statusOf } from './session-status.ts'

interface AttachmentsContext {
  mounting: Mounting
  skills: SkillMounts
  memory: MemoryMounts
  vaults: {
    /** Throws ApiError unless a session of this tenant may have these vaults. */
    checkUsable(tenant: string, vaultIds: readonly string[]): Promise<void>
  }
}

/** A session, for what is attached to it. */
interface Target {
  tenant: string
  resource: Pick<StoredSession, 'resources'>
  session: Session
}

/** What a new session gets. */
export interface Attached {
  versions: StoredVersion[]
  vaultIds: string[]
  memories: ReturnType<MemoryMounts['placed']>
  files: FileMount[]
}

/** What sessions have beside their conversations: files, the skills of their agents, memory stores, and the credentials of vaults. */
export class Attachments {
  readonly #context: AttachmentsContext

  constructor(context: AttachmentsContext) {
    this.#context = context
  }

  /** Finds what a new session asks for. Throws ApiError for what it cannot have. */
  async find(
    tenant: string,
    { resources = [], vault_ids = [] }: Pick<SessionCreate, 'resources' | 'vault_ids'>,
    skills: readonly AgentSkill[],
  ): Promise<Attached> {
    const versions = await this.#context.skills.resolve(tenant, skills)
    const vaultIds = [...new Set(vault_ids)]
    await this.#context.vaults.checkUsable(tenant, vaultIds)
    const stores = resources.filter((mount) => mount.type === 'memory_store')
    const memories = await this.#context.memory.attach(tenant, stores)
    return { versions, vaultIds, memories, files: resources.filter((mount) => mount.type === 'file') }
  }

  /** Puts it into the workspace of the session. Without all of it there is no session. Throws ApiError. */
  async place(
    { tenant, resource, session }: Target,
    { versions, files }: Attached,
  ): Promise<StoredSession['resources']> {
    const { mounting, skills, memory } = this.#context
    try {
      await mounting.prepare(session)
      if (versions.length > 0) await skills.place(tenant, session, versions)
      const mounted: StoredSession['resources'] = memory.placed(session, resource.resources)
      for (const mount of files) mounted.push(await mounting.mount({ tenant, session, mounted }, mount))
      return mounted
    } catch (error) {
      await session.delete()
      throw error
    }
  }

  /** Puts a file into the workspace of a session. Throws ApiError. */
  mount({ tenant, resource, session }: Target, mount: FileMount): Promise<FileResource> {
    return this.#context.mounting.mount({ tenant, session, mounted: resource.resources }, mount)
  }

  /** Removes a file from the workspace of a session. */
  unmount({ session }: Target, { mount_path: path }: FileResource): Promise<void> {
    return this.#context.mounting.unmount(session, path)
  }

  /** Puts skills into the workspace of a session that came in from an archive: what that has in their place is not to be believed. */
  async placeSkills({ tenant, session }: Target, skills: readonly AgentSkill[]): Promise<string[]> {
    const versions = await this.#context.skills.resolve(tenant, skills)
    await this.#context.skills.place(tenant, session, versions)
    return versions.map(({ name }) => name)
  }

  /** Gives the session what is in its memory stores now; what its agent is to be told. Not while a turn runs. */
  async remember({ tenant, session, resource: { resources } }: Target): Promise<string[]> {
    return (await statusOf(session)) === 'idle' ? this.#context.memory.before({ tenant, session, resources }) : []
  }

  /** At the end of this turn, brings what its agent has changed into its memory stores. */
  follow({ tenant, session, resource: { resources } }: Target, turn: Turn): void {
    this.#context.memory.follow({ tenant, session, resources }, turn.result)
  }
}
