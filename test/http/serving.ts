import { chown, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from '../cli/command.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

/** `claude-agent-pool serve`, running in a folder of its own. */
export interface Serving {
  readonly command: Command
  readonly url: string
  /** The address of the page, with its key if it needs one of the start. Undefined: the page is off. */
  readonly page?: string
  /** Of the operations port, if there is one. */
  readonly operations?: string
  readonly folder: string
}

interface ServeOptions {
  /** Default: a new one. */
  folder?: string
  /** The config's name. */
  file?: string
  env?: Record<string, string>
  limits?: { descriptors: number; heapMiB: number }
  uid?: number
}

/** Starts it with this config, as this user, and waits until it is ready. It is gone at the end of the test. */
export async function serve(
  config: string,
  { folder, file = 'claude-agent-pool.config.yaml', ...options }: ServeOptions = {},
): Promise<Serving> {
  const cwd = folder ?? (await temporaryFolder())
  if (options.uid !== undefined) await chown(cwd, options.uid, options.uid)
  await writeFile(join(cwd, file), config)
  const command = new Command(['serve', '--port', '0', '--json', '--log-level', 'info'], { cwd, ...options })
  const said = /^\{"url".*$/m.exec(await command.said(/^\{"url".*\n/m))?.[0] ?? '{}'
  const { url, ...other } = JSON.parse(said) as Pick<Serving, 'url' | 'page' | 'operations'>
  while (!(await fetch(`${url}/readyz`)).ok) await new Promise((resolve) => setImmediate(resolve))
  return { ...other, command, url, folder: cwd }
}

/** Sends a prompt, with the answer's stream open. */
export const post = (
  { url }: Serving,
  session: string,
  prompt: string,
  init: { headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Response> =>
  fetch(`${url}/sessions/${session}/messages`, { method: 'POST', body: JSON.stringify({ prompt }), ...init })
