import { randomUUID } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { devNull, tmpdir } from 'node:os'
import { join } from 'node:path'

/** Variables whose names say that they hold a secret: the HTTP keys, and the credentials of models, clouds and receivers of telemetry. */
const SECRET = /(?:^|_)(?:KEYS?|TOKENS?|SECRETS?|PASSWORD|CREDENTIALS?|HEADERS)(?:_|$)/i

/** A variable of libpq whose name has no words. */
const PASSWORD_OF_LIBPQ = 'PGPASSWORD'

/** A URL with a password: the address of a database, or of a proxy. */
const URL_WITH_PASSWORD = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#\s]*:[^/?#\s]+@|\S*[?&]password=.)/i

/** Says to a process that started itself again that its secrets are on its standard input. */
const HANDED_OVER = 'CLAUDE_AGENT_POOL_SECRETS_ON_STDIN'

const STDIN = 0

/** Where nothing goes to a disk. */
const MEMORY = '/dev/shm'

/** Linux: a file that never has a name. Node has no word for it. */
const O_TMPFILE = 0o20_000_000

type Environment = Record<string, string | undefined>

/** The names of the variables that hold secrets, by their names or as URLs with a password. */
export const secretsIn = (env: Environment): string[] =>
  Object.entries(env).flatMap(([name, value = '']) => (isSecret(name, value) ? name : []))

const isSecret = (name: string, value: string): boolean =>
  value !== '' && (SECRET.test(name) || name === PASSWORD_OF_LIBPQ || URL_WITH_PASSWORD.test(value))

/**
 * Takes the secrets out of what `/proc/PID/environ` shows of this process to every other one of the user, agents included.
 * Deleting a variable does not: the kernel shows what a process was started with. So the process replaces itself by the same
 * program without them, and gets them on a descriptor. Its pid, arguments and streams stay, except standard input. Returns
 * at once when there is nothing to hide, in the process that has replaced the first, and where a process cannot do it: on
 * Windows, and below a parent that talks to it over Node's channel.
 */
export function hideSecrets(): void {
  if (process.env[HANDED_OVER] !== undefined) return takeOver()
  const names = secretsIn(process.env)
  if (names.length === 0 || process.execve === undefined) return
  if (process.platform === 'win32' || process.env['NODE_CHANNEL_FD'] !== undefined) return
  const rest = Object.entries(process.env).filter(([name]) => !names.includes(name))
  putOnStdin(JSON.stringify(Object.fromEntries(names.map((name) => [name, process.env[name]]))))
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    ...Object.fromEntries(rest),
    [HANDED_OVER]: '1',
  })
}

function takeOver(): void {
  delete process.env[HANDED_OVER]
  const { size } = fstatSync(STDIN)
  const text = Buffer.alloc(size)
  for (let at = 0; at < size;) at += readSync(STDIN, text, at, size - at, at)
  ftruncateSync(STDIN)
  replaceStdin(() => openSync(devNull, 'r'))
  Object.assign(process.env, JSON.parse(text.toString('utf8')))
}

/** Of all descriptors only the first three outlive the replacement. */
function putOnStdin(text: string): void {
  replaceStdin(openNameless)
  writeSync(STDIN, text)
}

/** The lowest free descriptor is the next that is opened. */
function replaceStdin(open: () => number): void {
  closeSync(STDIN)
  const file = open()
  if (file !== STDIN) throw new Error(`standard input could not be replaced: the file is ${file}`)
}

function openNameless(): number {
  const folder = existsSync(MEMORY) ? MEMORY : tmpdir()
  if (process.platform === 'linux') {
    try {
      return openSync(folder, O_TMPFILE | constants.O_DIRECTORY | constants.O_RDWR, 0o600)
    } catch {
      // A file system without such files.
    }
  }
  const path = join(folder, `.claude-agent-pool-${randomUUID()}`)
  const file = openSync(path, 'wx+', 0o600)
  unlinkSync(path)
  return file
}

/** A process above this one that shows secrets in its own environment. */
export interface Revealing {
  pid: number
  command: string
  names: string[]
}

/** Processes above this one, up to the first of another user, that still show secrets which this one holds. */
export function revealingParents(env: Environment = process.env): Revealing[] {
  const found: Revealing[] = []
  for (let pid = process.ppid; pid > 0; pid = parentOf(pid)) {
    const environment = textOf(`/proc/${pid}/environ`)?.split('\0')
    if (environment === undefined) break
    const names = secretsIn(env).filter((name) => environment.includes(`${name}=${env[name]}`))
    if (names.length > 0) found.push({ pid, command: textOf(`/proc/${pid}/comm`)?.trim() ?? '', names })
  }
  return found
}

const parentOf = (pid: number): number => Number(/^PPid:\s+(\d+)/m.exec(textOf(`/proc/${pid}/status`) ?? '')?.[1] ?? 0)

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
