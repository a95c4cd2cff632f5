import { SKILLS } from '../../../session-paths.ts'
import type { Session } from '../../../index.ts'
import { ApiError } from '../../errors.ts'
import type { AgentSkill } from '../definition.ts'
import { collected } from './skill-contents.ts'
import { readSkillText, skillTextOf } from './skill-text.ts'
import { SKILL_FILE } from './skill-tree.ts'
import type { Skills, StoredVersion } from './skills.ts'

/** The CLI reads skills of a session as those of a plugin. */
const PLUGIN = `${SKILLS}/.claude-plugin/plugin.json`

const MANIFEST = JSON.stringify({ name: 'skills', version: '1.0.0', description: 'The skills of this agent' })

async function* once(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text)
}

/** Gives sessions the skills of their agents. */
export class SkillMounts {
  readonly #skills: Skills

  constructor(skills: Skills) {
    this.#skills = skills
  }

  /** The versions that these skills stand for now. Throws ApiError (invalid_request_error) that names the one that there is not. */
  async resolve(tenant: string, skills: readonly AgentSkill[]): Promise<StoredVersion[]> {
    const versions: StoredVersion[] = []
    for (const { skill_id: id, version } of skills) {
      const found = await this.#skills.version(tenant, id, version).catch((cause: unknown) => {
        if (!(cause instanceof ApiError)) throw cause
        throw new ApiError('invalid_request_error', `skills: ${cause.message}`, { cause })
      })
      if (versions.some(({ name }) => name === found.name))
        throw new ApiError('invalid_request_error', `skills: two of them are called "${found.name}"; leave one out`)
      versions.push(found)
    }
    return versions
  }

  /** Throws ApiError for skills that an agent cannot have. */
  async check(tenant: string, skills: readonly AgentSkill[]): Promise<void> {
    await this.resolve(tenant, skills)
  }

  /** Puts the files of these versions into a workspace, in the place of others. Throws ApiError, FilesError. */
  async place(tenant: string, session: Session, versions: readonly StoredVersion[]): Promise<void> {
    // What an archive or an agent has put there would be read as well.
    await session.removeFile(SKILLS)
    await session.putFile(PLUGIN, once(MANIFEST))
    for (const version of versions) {
      const { files, read } = await this.#skills.content(tenant, version)
      for (const file of files) {
        const path = `${SKILLS}/skills/${version.name}/${file.path}`
        if (file.path !== SKILL_FILE) await session.putFile(path, read(file))
        else {
          const text = readSkillText(await collected(read(file)))
          await session.putFile(path, once(skillTextOf(version.name, text)))
        }
      }
    }
  }
}
