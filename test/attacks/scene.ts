import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttp } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PeerPort } from '../../src/cluster/peer-port.ts'
import { memoryIsOpen } from '../../src/credentials/exposure.ts'
import { openCgroups } from '../../src/driver/worker-cgroups.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { identify, isSame, living, signal } from '../faults/procfs.ts'
import type { Entry } from '../faults/procfs.ts'
import { DESIGN, isolationOf } from './design.ts'
import type { Cell, Mode } from './design.ts'

/** What the attacked server limits, if cgroups can be had here. */
const LIMITS = { pids: 500 }

function hasCgroups(): boolean {
  try {
    openCgroups(['pids'])?.remove()
    return true
  } catch {
    return false
  }
}

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const ATTACKER = readFileSync(new URL('./attacker.ts', import.meta.url))

const BRIDGE_PORT = 3_128

/** The kernel has this long to end what is left of a host, in milliseconds. */
const GONE_MS = 1_000

/** What came of each attack; null: it is not known. */
export type Outcome = Record<string, boolean | null>

const TENANTS = ['victim', 'attacker'] as const
type Tenant = (typeof TENANTS)[number]

/** A server with two tenants, the simulated model behind it, and things that must not be reached. */
class Scene implements AsyncDisposable {
  readonly key = ['sk', 'attacked', randomBytes(16).toString('hex')].join('-')
  readonly mark = randomBytes(16).toString('hex')
  readonly abstract = `attack-${randomBytes(8).toString('hex')}`
  readonly #undo = new AsyncDisposableStack()
  readonly #keys = new Map(TENANTS.map((tenant) => [tenant, randomBytes(24).toString('hex')]))
  folder = ''
  port = 0
  udpPort = 0
  keyless = ''
  operations = ''
  peers = ''
  #host: ChildProcess | undefined
  #url = ''

  get hostPid(): number {
    return this.#host?.pid ?? 0
  }

  get dataDir(): string {
    return join(this.folder, 'data')
  }

  async open(mode: Mode): Promise<void> {
    const simulator = this.#undo.adopt(await startSimulator({ recordLimit: 0 }), (one) => one.close())
    this.folder = await mkdtemp(join(tmpdir(), 'attacks-'))
    // Users of tenants pass through it.
    await chmod(this.folder, 0o711)
    this.#undo.defer(() => rm(this.folder, { recursive: true, force: true, maxRetries: 3 }))
    await this.#listen()
    const remotes = { shop: { url: await this.#shop(), bearer: 'a secret' } }
    const none = { spares: { max: 0 }, unboundSpares: { max: 0 } }
    const agent = { model: 'claude-sonnet-5', ...none, allowedTools: ['Bash'], remotes }
    const keys = [...this.#keys].map(([tenant, key]) => ({
      tenant,
      sha256: createHash('sha256').update(key).digest('hex'),
    }))
    const config = {
      agents: { a: agent },
      dataDir: './data',
      api: { baseUrl: simulator.url },
      isolation: { ...isolationOf(mode, this.port), ...(hasCgroups() ? LIMITS : {}) },
      server: { keys, operations: { port: 0 } },
    }
    const { host, url, operations = '' } = await this.#serve(config, this.key)
    this.#host = host
    this.#url = url
    this.operations = operations
    const own = { agents: { a: none }, dataDir: './keyless', isolation: isolationOf(mode, this.port) }
    this.keyless = (await this.#serve(own, 'sk-of-the-other-server')).url
    await this.#openPeers()
  }

  /** A place that asks for a credential. */
  async #shop(): Promise<string> {
    const http = this.#undo.adopt(
      createHttp(({ headers }, response) => {
        response.writeHead(headers.authorization === 'Bearer a secret' ? 200 : 401).end()
      }),
      (one) => void one.close(),
    )
    await once(http.listen(0, '127.0.0.1'), 'listening')
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}/shop`
  }

  async #openPeers(): Promise<void> {
    const port = this.#undo.adopt(await PeerPort.open({ host: '127.0.0.1', port: 0 }), (one) => one.close())
    const serve = async (): Promise<Response> => new Response('taken')
    port.attach({ key: randomBytes(32).toString('hex'), id: () => '7', now: Date.now, serve, refused: () => undefined })
    this.peers = `http://${port.address}/sessions`
  }

  /** Runs a command in the Bash of a tenant's agent; its output. */
  async bash(tenant: Tenant, command: string): Promise<string> {
    const headers = { 'x-api-key': this.#keys.get(tenant) ?? '' }
    const body = JSON.stringify({ prompt: `@sim bash ${command}` })
    const answer = await fetch(`${this.#url}/sessions/${tenant}/messages`, { method: 'POST', headers, body })
    const frames = (await answer.text())
      .split('\n')
      .flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []))
    const said = frames.map((frame) => JSON.parse(frame) as { type?: string; result?: string })
    const result = said.find(({ type }) => type === 'result')?.result
    if (result === undefined) throw new Error(`no result: ${frames.at(-1)}`)
    return result
  }

  /** Ends the host as the kernel would, with its sentinel stopped. */
  async killHost(): Promise<void> {
    const host = identify(this.hostPid)
    const sentinels = living().filter(({ command }) => command.includes(`sentinel.js ${host.pid} ${host.startTime} `))
    if (sentinels.length === 0) throw new Error('the host has no sentinel')
    for (const sentinel of sentinels) {
      signal(sentinel, 'SIGSTOP')
      this.#undo.defer(() => signal(sentinel, 'SIGKILL'))
    }
    const gone = once(this.#host as ChildProcess, 'exit')
    signal(host, 'SIGKILL')
    await gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#undo.disposeAsync()
  }

  async #listen(): Promise<void> {
    const tcp = this.#undo.adopt(
      createServer((socket) => socket.destroy()),
      (one) => void one.close(),
    )
    tcp.listen(0, '127.0.0.1')
    const named = this.#undo.adopt(
      createServer((socket) => socket.destroy()),
      (one) => void one.close(),
    )
    named.listen(`\0${this.abstract}`)
    const udp = this.#undo.adopt(createSocket('udp4'), (one) => void one.close())
    udp.on('message', (message, { port, address }) => udp.send(message, port, address))
    udp.bind(0, '127.0.0.1')
    await Promise.all([once(tcp, 'listening'), once(named, 'listening'), once(udp, 'listening')])
    this.port = (tcp.address() as AddressInfo).port
    this.udpPort = udp.address().port
  }

  async #serve(config: object, key: string): Promise<{ host: ChildProcess; url: string; operations?: string }> {
    await writeFile(join(this.folder, 'claude-agent-pool.config.json'), JSON.stringify(config))
    const { PATH = '', HOME = '' } = process.env
    const env = { PATH, HOME, ATTACK_MARK: this.mark, ANTHROPIC_API_KEY: key }
    const host = spawn(process.execPath, [MAIN, 'serve', '--port', '0', '--json'], {
      cwd: this.folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended = once(host, 'exit')
    this.#undo.defer(async () => {
      host.kill('SIGTERM')
      await ended
    })
    let said = ''
    host.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    const line = await Promise.race([
      once(host.stdout.setEncoding('utf8'), 'data').then(([text]) => text as string),
      ended.then(() => Promise.reject(new Error(`the server did not start: ${said}`))),
    ])
    return { host, ...(JSON.parse(line) as { url: string; operations?: string }) }
  }
}

/** All processes below one. */
function below(pid: number, all: readonly Entry[]): Entry[] {
  return all.filter(({ ppid }) => ppid === pid).flatMap((entry) => [entry, ...below(entry.pid, all)])
}

/** The processes of workers: all that the host has started but its helpers. */
function agentsOf(hostPid: number): Entry[] {
  const all = living()
  const workers = all.filter(
    ({ ppid, command }) => ppid === hostPid && !/\/(?:sentinel|proxy|user-child)\.js/.test(command),
  )
  return workers.flatMap((worker) => [worker, ...below(worker.pid, all)])
}

/** Whether a process has a text: in its environment, its arguments, or anywhere in its memory, mapped files included. */
const has = ({ pid, environment, command }: Entry, wanted: string): boolean =>
  environment.includes(wanted) || command.includes(wanted) || memoryHas(pid, wanted)

function memoryHas(pid: number, wanted: string): boolean {
  try {
    const memory = openSync(`/proc/${pid}/mem`, 'r')
    const piece = Buffer.alloc(2 ** 20)
    try {
      for (const mapping of readFileSync(`/proc/${pid}/smaps`, 'latin1').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
        // What was reserved and never used holds nothing, and is most of it.
        const [, from = '', to = '', resident = '0'] =
          /^([0-9a-f]+)-([0-9a-f]+) r[^]*?^Rss: +(\d+) kB/m.exec(mapping) ?? []
        if (Number(resident) === 0) continue
        const end = BigInt(`0x${to}`)
        for (let at = BigInt(`0x${from}`); at < end; at += BigInt(piece.length - wanted.length)) {
          const length = Number(end - at < BigInt(piece.length) ? end - at : BigInt(piece.length))
          try {
            if (piece.subarray(0, readSync(memory, piece, 0, length, at)).includes(wanted)) return true
          } catch {
            // The kernel does not show what belongs to a device.
            break
          }
        }
      }
      return false
    } finally {
      closeSync(memory)
    }
  } catch (error) {
    // It is gone.
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

/** Attacks a server of this mode in every way. Throws if it does not start or answer. */
export async function attack(mode: Mode): Promise<Outcome> {
  await using scene = new Scene()
  await scene.open(mode)
  await scene.bash('victim', 'echo canary > canary')
  const { hostPid, dataDir } = scene
  const proxyPid = living().find(({ ppid, command }) => ppid === hostPid && command.includes('proxy.js'))?.pid ?? 0
  const canary = (await readdir(dataDir, { recursive: true })).find((name) => name.endsWith('/canary')) ?? ''
  const { control } = JSON.parse(await readFile(join(dataDir, 'host.json'), 'utf8')) as { control: string }
  const [victim] = agentsOf(hostPid)
  const socket = /(?:^|\0)ANTHROPIC_UNIX_SOCKET=([^\0]*)/.exec(victim?.environment ?? '')?.[1] ?? ''
  const targets = {
    hostPid,
    proxyPid,
    victimPid: victim?.pid ?? 0,
    mark: scene.mark,
    dataDir,
    canary: join(dataDir, canary),
    control,
    modelSocket: socket,
    abstract: scene.abstract,
    port: scene.port,
    udpPort: scene.udpPort,
    keyless: scene.keyless,
    operations: scene.operations,
    peers: scene.peers,
    bridgePort: BRIDGE_PORT,
    folders: [scene.folder, '/dev/shm'],
  }
  const program = `"$(echo ${ATTACKER.toString('base64')} | base64 -d)"`
  const node = `${process.execPath} --disable-warning=ExperimentalWarning --input-type=module-typescript`
  const said = await scene.bash('attacker', `${node} -e ${program} '${JSON.stringify(targets)}'`)
  const outcome = JSON.parse(/ATTACKS (\{.*\})/.exec(said)?.[1] ?? '{}') as Outcome
  const escaped = living().filter(({ environment }) => environment.includes(`ESCAPED=${scene.mark}`))
  const agents = [...agentsOf(hostPid), ...escaped]
  // The token that an agent has in place of the key must be found, or the search means nothing.
  const isSearched = agents.some(({ pid, environment }) => {
    const token = /(?:^|\0)ANTHROPIC_API_KEY=([^\0]+)/.exec(environment)?.[1]
    return token !== undefined && memoryHas(pid, token)
  })
  const keyOfAgent = isSearched ? agents.some((agent) => has(agent, scene.key)) : null
  await scene.killHost()
  const outlive = !(await allGone(agents))
  return { ...outcome, keyOfAgent, outlive }
}

/** Of `/proc/PID/stat`: it runs no more, and the kernel is about to take it away. */
const PF_EXITING = 0x4

function isExiting(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const flags = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[6]
    return (Number(flags) & PF_EXITING) !== 0
  } catch {
    return true
  }
}

async function allGone(agents: readonly Entry[]): Promise<boolean> {
  const deadline = performance.now() + GONE_MS
  const left = (): Entry[] =>
    living().filter((one) => agents.some((agent) => isSame(agent, one) && !isExiting(one.pid)))
  while (left().length > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10))
  const outlived = left()
  for (const entry of outlived) signal(entry, 'SIGKILL')
  return outlived.length === 0
}

/** What was found and not designed, or is not known. */
export function differences(mode: number, outcome: Outcome): string[] {
  return Object.entries(DESIGN).flatMap(([name, { cells }]) => {
    const found = outcome[name] ?? null
    if (found === null) return [`${name}: unknown`]
    const designed = designOf(cells[mode] ?? 'no')
    return designed === undefined || designed === found ? [] : [`${name}: found ${found}, designed ${designed}`]
  })
}

/** Whether a cell lets an attack work on this machine; undefined: either is well. */
function designOf(cell: Cell): boolean | undefined {
  switch (cell) {
    case 'as root':
      return process.getuid?.() === 0
    case 'if the host can':
      return hasCgroups()
    case 'if memory is open':
      return memoryIsOpen()
    case 'if the kernel allows':
      return undefined
    default:
      return cell === 'yes'
  }
}
