import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ownedBy } from '../cli/command.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const project = resolve(import.meta.dirname, '../..')

test.runIf(process.platform === 'linux')(
  'SIGTERM to `npm start` drains the server, and leaves no process',
  async () => {
    const folder = await temporaryFolder()
    const npm = spawn('npm', ['start', '--', '--port', '0', '--json', '--data-dir', folder, '--log-level', 'info'], {
      cwd: project,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    onTestFinished(() => void npm.kill('SIGKILL'))
    let said = ''
    const heard = new Promise<void>((known) => {
      for (const stream of [npm.stdout, npm.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          said += text
          if (/^\{"url".*\n/m.test(said)) known()
        })
    })
    const closed = once(npm, 'close')
    await Promise.race([heard, closed])
    const { url, pid } = JSON.parse(/^\{"url".*$/m.exec(said)?.[0] ?? said) as { url: string; pid: number }
    expect((await fetch(`${url}/livez`)).status).toBe(200)
    npm.kill('SIGTERM')
    await closed
    expect(said).toContain('"msg":"drained"')
    await expect(fetch(`${url}/livez`)).rejects.toThrow('fetch failed')
    expect(ownedBy(pid)).toEqual([])
  },
)
