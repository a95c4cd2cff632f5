import { readFileSync, readdirSync, readlinkSync } from 'node:fs'

/** A process, safe against pid reuse. */
export interface Identity {
  pid: number
  startTime: string
}

/** One living process, as the kernel shows it. These tests read `/proc` themselves: what is tested is no witness. */
export interface Entry extends Identity {
  ppid: number
  group: number
  session: number
  command: string
  /** Pid and start time of the host whose marker it carries. */
  host: Identity | undefined
  cwd: string
  environment: string
}

const MARKER = /(?:^|\0)CLAUDE_AGENT_POOL_MARKER=(\d+):(\d+):/

function orEmpty(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}

function entryOf(pid: number): Entry | undefined {
  const stat = orEmpty(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
  const [state, ppid, group, session, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const startTime = rest[15]
  if (startTime === undefined || state === 'Z' || state === 'X') return undefined
  const environment = orEmpty(() => readFileSync(`/proc/${pid}/environ`, 'latin1'))
  const [, hostPid, hostStartTime] = MARKER.exec(environment) ?? []
  return {
    pid,
    startTime,
    ppid: Number(ppid),
    group: Number(group),
    session: Number(session),
    command: orEmpty(() => readFileSync(`/proc/${pid}/cmdline`, 'latin1'))
      .replaceAll('\0', ' ')
      .trim(),
    host: hostStartTime === undefined ? undefined : { pid: Number(hostPid), startTime: hostStartTime },
    cwd: orEmpty(() => readlinkSync(`/proc/${pid}/cwd`)),
    environment,
  }
}

/** All that live now; zombies are dead. */
export const living = (): Entry[] =>
  readdirSync('/proc').flatMap((name) => {
    const entry = /^\d+$/.test(name) ? entryOf(Number(name)) : undefined
    return entry === undefined ? [] : [entry]
  })

export const isSame = (a: Identity | undefined, b: Identity): boolean =>
  a !== undefined && a.pid === b.pid && a.startTime === b.startTime

/** The credential proxy of a host. */
export const isProxy = ({ environment }: Entry): boolean =>
  /(?:^|\0)CLAUDE_AGENT_POOL_MARKER=[^\0]*:credential-proxy\0/.test(environment)

/** This very process, if it lives. */
export function identify(pid: number): Identity {
  const entry = entryOf(pid)
  if (entry === undefined) throw new Error(`there is no process ${pid}`)
  return { pid, startTime: entry.startTime }
}

/** Signals a process if it is still the one that was seen. */
export function signal(identity: Identity, name: NodeJS.Signals): void {
  if (isSame(entryOf(identity.pid), identity)) process.kill(identity.pid, name)
}

/** What hangs on `host`: what carries its marker, and what is connected with that by parentage, group or session. */
export function treeOfHost(entries: readonly Entry[], host: Identity): Entry[] {
  const own = entries.filter(({ pid }) => pid === host.pid || pid === process.pid)
  const candidates = entries.filter(({ pid, ppid }) => ppid !== 0 && pid !== host.pid && pid !== process.pid)
  const members = new Set(candidates.filter((entry) => isSame(entry.host, host)))
  for (let before = -1; before !== members.size;) {
    before = members.size
    const pids = new Set([...members].map(({ pid }) => pid))
    const sessions = new Set([...members].map(({ session }) => session))
    for (const { session } of own) sessions.delete(session)
    for (const entry of candidates) if (pids.has(entry.ppid) || sessions.has(entry.session)) members.add(entry)
  }
  return [...members]
}
