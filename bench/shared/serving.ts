import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer as createSocket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MARK } from './bench.ts'
import type { Bench } from './bench.ts'

const main = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js')

/** `claude-agent-pool serve` on the simulated model. */
export interface Serving {
  child: ChildProcess
  url: string
  /** Milliseconds to the first answer that says ready. */
  readyMs: number
  mark: string
}

let served = 0

/** Starts it in a folder of its own, with so many spares and these variables, and resolves when it is ready. */
export async function serve(target: Bench, spares = 0, env: Record<string, string> = {}): Promise<Serving> {
  served += 1
  const mark = `${target.dir}:serve${served}:`
  const folder = join(target.dir, `serve-${served}`)
  mkdirSync(folder)
  const bounds = `spares: { min: ${spares}, max: ${spares} }, unboundSpares: { max: 0 }`
  const model = `model: claude-sonnet-5, env: { ${MARK}: "${mark}" }`
  writeFileSync(
    join(folder, 'claude-agent-pool.config.yaml'),
    `agents: { assistant: { ${bounds}, ${model} } }\napi: { baseUrl: "${target.url}", key: simulated }\nserver: { grace: 2s }\n`,
  )
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const since = performance.now()
  const child = spawn(process.execPath, [main, 'serve', '--port', String(port), '--log-level', 'error'], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], [MARK]: mark, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  target.owned.defer(() => void child.kill('SIGKILL'))
  for (;;) {
    if (child.exitCode !== null) throw new Error(`serve ended with ${child.exitCode}`)
    if (await isReady(url)) return { child, url, readyMs: performance.now() - since, mark }
    await sleep(5)
  }
}

const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  )

export async function freePort(): Promise<number> {
  const socket = createSocket().listen(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address() as AddressInfo
  socket.close()
  await once(socket, 'close')
  return port
}
