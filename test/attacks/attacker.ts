/*
 * What an agent runs that attacks everything around it. It gets its targets as JSON and prints which attacks worked, as JSON: true, false,
 * or null for one that ended in an unexpected way. It runs from its text alone, since a sandbox does not show this file.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { accessSync, closeSync, constants, existsSync } from 'node:fs'
import { openSync, readFileSync, readSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { NetConnectOpts } from 'node:net'
import { join } from 'node:path'

/** Where the things are that must not be reached. */
interface Targets {
  hostPid: number
  proxyPid: number
  victimPid: number
  /** A text in the environment of the host. */
  mark: string
  dataDir: string
  canary: string
  control: string
  modelSocket: string
  abstract: string
  port: number
  udpPort: number
  /** A server without keys. */
  keyless: string
  operations: string
  /** What hosts of a cluster ask each other at. */
  peers: string
  /** Where the bridge of a sandbox listens. */
  bridgePort: number
  folders: string[]
}

const targets = JSON.parse(process.argv[1] ?? '{}') as Targets

/** Not written out: the attacker's own arguments would hold it. */
const KEY = new RegExp(['sk', 'attacked', '[0-9a-f]{32}'].join('-'))

/** A command that ended without saying what it was for. */
class Unknown extends Error {}

const text = (path: string): string => readFileSync(path, 'latin1')

const pids = (): number[] => readdirSync('/proc').map(Number).filter(Number.isInteger)

function quietly<T>(read: () => T, otherwise: T): T {
  try {
    return read()
  } catch {
    return otherwise
  }
}

/** Another process may have this pid in a sandbox. */
const isHost = (): boolean => text(`/proc/${targets.hostPid}/cmdline`).includes('serve')

const connects = (options: NetConnectOpts): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(options)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

/** Asks an HTTP proxy for a tunnel. */
const tunnels = (authority: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: targets.bridgePort })
    socket.once('error', () => resolve(false))
    socket.once('data', (answer: Buffer) => {
      socket.destroy()
      resolve(answer.toString('latin1').startsWith('HTTP/1.1 200'))
    })
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n\r\n`)
  })

const echoes = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createSocket('udp4')
    const done = (answered: boolean): void => {
      socket.close()
      resolve(answered)
    }
    socket.once('error', () => done(false))
    socket.once('message', () => done(true))
    socket.connect(port, '127.0.0.1', () => socket.send('attack'))
  })

/** Whether a URL answers with what it is for. */
async function answers(url: string, init: RequestInit = {}): Promise<boolean> {
  try {
    return (await fetch(url, init)).ok
  } catch {
    return false
  }
}

/** Asks the place of another worker's remote, with the address and the token that its environment shows. */
async function usesRemote(): Promise<boolean> {
  const urls = pids().flatMap((pid) => {
    const [, url] = /(?:^|\0)REMOTE_URL_SHOP=([^\0]+)/.exec(quietly(() => text(`/proc/${pid}/environ`), '')) ?? []
    return url === undefined || url === process.env['REMOTE_URL_SHOP'] ? [] : [new URL(url)]
  })
  for (const { origin, pathname, username, password } of urls) {
    const authorization = `Basic ${btoa(`${username}:${password}`)}`
    if (await answers(origin + pathname, { headers: { authorization } })) return true
  }
  return false
}

/** Asks as a host of the cluster that does not have the secret. */
const isPeer = (): Promise<boolean> => {
  const zeros = '0'.repeat(64)
  const proof = `v=1 from=3 to=7 at=${Date.now()} nonce=${zeros.slice(32)} body=${zeros} mac=${zeros}`
  return answers(targets.peers, { headers: { 'x-claude-agent-pool-peer': proof } })
}

/** Takes the action that stops everything, as the page of the server would. */
const actsOnPage = (): Promise<boolean> =>
  answers(`${targets.keyless}/page/action`, {
    method: 'POST',
    headers: { 'x-claude-agent-pool-page': '1', origin: targets.keyless },
    body: JSON.stringify({ do: 'suspend' }),
  })

const CGROUPS = '/sys/fs/cgroup'

/** Where each tree of cgroups begins, and the cgroup of a process in it. */
function cgroupsOf(pid: number | 'self'): { root: string; own: string }[] {
  const roots = [CGROUPS, ...quietly(() => readdirSync(CGROUPS), []).map((name) => join(CGROUPS, name))]
  const paths = text(`/proc/${pid}/cgroup`).trim().split('\n')
  return paths
    .map((line) => line.split(':')[2] ?? '')
    .filter((path) => path.includes('claude-agent-pool'))
    .flatMap((path) => roots.map((root) => ({ root, own: join(root, path) })))
    .filter(({ own }) => existsSync(join(own, 'cgroup.procs')))
}

const writes = (path: string, value: string): boolean =>
  quietly(() => {
    writeFileSync(path, value)
    return true
  }, false)

const NO_LIMIT = { 'pids.max': 'max', 'memory.max': 'max', 'memory.limit_in_bytes': '-1' }

/** Any limit of its own cgroup. */
const raisesLimit = (): boolean =>
  cgroupsOf('self').some(({ own }) =>
    Object.entries(NO_LIMIT).some(([file, none]) => existsSync(join(own, file)) && writes(join(own, file), none)),
  )

/** Stops or lets go on what another worker has, or moves into its cgroup. */
const changesOther = (): boolean =>
  cgroupsOf(targets.victimPid).some(({ own }) =>
    ['cgroup.freeze', 'freezer.state', 'cgroup.procs'].some((file) =>
      quietly(() => {
        closeSync(openSync(join(own, file), 'r+'))
        return true
      }, false),
    ),
  )

function memoryShowsKey(pid: number): boolean {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const piece = Buffer.alloc(2 ** 20)
  for (const line of text(`/proc/${pid}/maps`).split('\n')) {
    const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? []
    if (from === '') continue
    const end = BigInt(`0x${to}`)
    // Pieces overlap, so that a key between two is found.
    for (let at = BigInt(`0x${from}`); at < end; at += BigInt(piece.length - 64)) {
      const length = Number(end - at < BigInt(piece.length) ? end - at : BigInt(piece.length))
      const read = quietly(() => readSync(memory, piece, 0, length, at), 0)
      if (KEY.test(piece.toString('latin1', 0, read))) return true
    }
  }
  closeSync(memory)
  return false
}

function filesShowKey(folder: string): boolean {
  const files = quietly(() => readdirSync(folder, { recursive: true, encoding: 'utf8' }), [])
  return files.some((name) =>
    quietly(() => {
      const path = join(folder, name)
      const facts = statSync(path)
      return facts.isFile() && facts.size < 2 ** 24 && KEY.test(text(path))
    }, false),
  )
}

function makesUserNamespace(): boolean {
  const { error, status } = spawnSync('unshare', ['--user', 'true'], { stdio: 'ignore' })
  if (error !== undefined) throw new Unknown('there is no unshare')
  return status === 0
}

/** What the next process of the conversation goes on from. */
function changesTranscript(): boolean {
  const folder = process.env['CLAUDE_CONFIG_DIR'] ?? ''
  const transcript = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith('.jsonl'))
  if (transcript === undefined) throw new Unknown('there is no transcript')
  closeSync(openSync(join(folder, transcript), 'a'))
  return true
}

const attacks: Record<string, () => boolean | Promise<boolean>> = {
  environ: () => isHost() && text(`/proc/${targets.hostPid}/environ`).includes(targets.mark),
  descriptors: () => isHost() && readdirSync(`/proc/${targets.hostPid}/fd`).length > 0,
  signal: () => isHost() && process.kill(targets.hostPid, 0),
  processes: () => isHost(),
  store: () => text(join(targets.dataDir, 'pool.sqlite')).startsWith('SQLite'),
  tenant: () => text(targets.canary).includes('canary'),
  secret: () => text(join(targets.dataDir, 'host.json')).includes('secret'),
  control: () => connects({ path: targets.control }),
  model: () => connects({ path: targets.modelSocket }),
  abstract: () => connects({ path: `\0${targets.abstract}` }),
  loopback: () => connects({ host: '127.0.0.1', port: targets.port }),
  udp: () => echoes(targets.udpPort),
  unlisted: async () =>
    (await connects({ host: '127.0.0.1', port: targets.port })) || (await tunnels(`127.0.0.1:${targets.port}`)),
  rebound: async () =>
    (await connects({ host: 'localhost', port: targets.port })) || (await tunnels(`localhost:${targets.port}`)),
  remote: usesRemote,
  peers: isPeer,
  operations: () => answers(`${targets.operations}/metrics`),
  api: () => answers(`${targets.keyless}/v1/agents`),
  page: actsOnPage,
  limit: raisesLimit,
  otherCgroup: changesOther,
  leave: () => cgroupsOf('self').some(({ root }) => writes(join(root, 'cgroup.procs'), String(process.pid))),
  system: () => {
    accessSync('/usr', constants.W_OK)
    return true
  },
  namespace: makesUserNamespace,
  keyShown: () =>
    pids().some((pid) =>
      ['environ', 'cmdline'].some((name) => KEY.test(quietly(() => text(`/proc/${pid}/${name}`), ''))),
    ),
  keyStored: () => targets.folders.some(filesShowKey),
  keyInMemory: () => [targets.hostPid, targets.proxyPid].some(memoryShowsKey),
  forge: changesTranscript,
}

// It stays behind when its host is gone, if nothing ends it.
spawn('sleep', ['600'], { detached: true, stdio: 'ignore', env: { ...process.env, ESCAPED: targets.mark } }).unref()

const results: Record<string, boolean | null> = {}
for (const [name, attack] of Object.entries(attacks)) {
  try {
    results[name] = await attack()
  } catch (error) {
    // What the system refuses has a code.
    results[name] = typeof (error as { code?: unknown }).code === 'string' ? false : null
  }
}
process.stdout.write(`ATTACKS ${JSON.stringify(results)}\n`)
process.exit(0)
