import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Order } from '../http-host.ts'
import { SMALL_YOUNG_GENERATION, reply, startRole } from './bench.ts'
import type { Bench } from './bench.ts'
import { StreamReader } from './streams.ts'

let hosts = 0

/** A server in a process of its own. */
export class Host {
  readonly #child: ChildProcess
  readonly url: string

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.url = url
  }

  /** `data`: the name of its data directory, which may be an earlier host's. */
  static async start({ dir, owned }: Bench, side: 'pool' | 'bare', data = `http-${(hosts += 1)}`): Promise<Host> {
    const child = startRole('http-host.ts', [dir, side, join(dir, data)], dir, SMALL_YOUNG_GENERATION)
    owned.defer(() => void (child.connected && child.disconnect()))
    return new Host(child, await reply<string>(child))
  }

  tell(order: Order): Promise<number> {
    const answer = reply<number>(this.#child)
    this.#child.send(order)
    return answer
  }

  async session(): Promise<string> {
    const response = await fetch(`${this.url}/v1/sessions`, {
      method: 'POST',
      body: JSON.stringify({ agent: 'agent_assistant', environment_id: 'env_local' }),
    })
    return ((await response.json()) as { id: string }).id
  }

  async end(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.disconnect()
    await exited
  }
}

/** Where the events of a session stream. */
export const streamOf = (session: string): string => `/v1/sessions/${session}/events/stream`

/** Opens streams, few at a time. */
export async function openAll(url: string, paths: readonly string[]): Promise<StreamReader[]> {
  const all: StreamReader[] = []
  for (let at = 0; at < paths.length; at += 20)
    all.push(...(await Promise.all(paths.slice(at, at + 20).map((path) => StreamReader.open(url + path)))))
  return all
}

/** Leaves all of them. */
export const closeAll = (streams: readonly StreamReader[]): void => {
  for (const stream of streams) stream.close()
}
