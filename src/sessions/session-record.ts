import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { ConfigError, SessionConflictError, SessionGoneError } from '../errors.ts'
import { chosenPath } from '../files/host-paths.ts'
import type { SessionRecord } from '../store/store.ts'

/** Keys and tenants travel through logs and file names: at most this many bytes of UTF-8. */
const LONGEST_NAME_BYTES = 256

/** Which session is meant. The uid tells it from a later one under the same key. */
export type SessionIdentity = Readonly<Pick<SessionRecord, 'tenant' | 'key' | 'uid' | 'agent'>>

/** The record of a session that begins now. */
export function newRecord(
  { tenant, key, agent, cwd }: Pick<SessionRecord, 'tenant' | 'key' | 'agent' | 'cwd'>,
  now: number,
): SessionRecord {
  return {
    tenant,
    key,
    uid: randomUUID(),
    agent,
    cwd,
    ownsCwd: false,
    sdkSessionId: undefined,
    begun: false,
    turns: 0,
    usage: undefined,
    createdAt: now,
    lastUsedAt: now,
  }
}

/** Throws SessionConflictError when the session has another agent or cwd than the caller named. */
export function checkConflict(record: SessionRecord, agent: string | undefined, cwd: string | undefined): void {
  if (agent !== undefined && agent !== record.agent) {
    throw new SessionConflictError(
      `session "${record.key}" belongs to agent "${record.agent}", not "${agent}"; leave agent out, or use another key`,
    )
  }
  if (cwd !== undefined && cwd !== record.cwd) {
    throw new SessionConflictError(
      `session "${record.key}" runs in ${record.cwd ?? 'a workspace of its own'}, not in ${cwd}; leave cwd out, or use another key`,
    )
  }
}

/** The absolute path of a directory that exists. Throws ConfigError. */
export async function existingDirectory(path: string): Promise<string> {
  const absolute = resolve(path)
  const found = await chosenPath(absolute)
  if (found === undefined) {
    throw new ConfigError(
      'cwd',
      `${absolute} does not exist; make it first, or leave cwd out for a workspace of the pool`,
    )
  }
  if (found !== 'folder') throw new ConfigError('cwd', `${absolute} is not a directory`)
  return absolute
}

/** Checks a session's key or a tenant's name. Throws ConfigError. */
export function checkName(path: 'key' | 'tenant', name: unknown): void {
  if (typeof name !== 'string' || name === '') throw new ConfigError(path, 'must be a string of at least one character')
  if (Buffer.byteLength(name) > LONGEST_NAME_BYTES) {
    throw new ConfigError(
      path,
      `has ${Buffer.byteLength(name)} bytes; at most ${LONGEST_NAME_BYTES} are allowed, so hash longer ones`,
    )
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what this looks for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) throw new ConfigError(path, 'has control characters; leave them out')
  if (!name.isWellFormed()) throw new ConfigError(path, 'is not well-formed Unicode (a lone surrogate)')
}

/** The error for a session that is not there. */
export const sessionGone = (key: string, code: 'session_deleted' | 'session_not_found'): SessionGoneError =>
  new SessionGoneError(
    code,
    code === 'session_deleted'
      ? `session "${key}" was deleted; pool.session() begins another one under this key`
      : `there is no session "${key}"; name its agent to begin one`,
  )
