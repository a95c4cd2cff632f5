import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { ownedBy } from '../cli/command.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { checkout } from './checkout.ts'

test.runIf(process.platform === 'linux')(
  'SIGTERM to `npm start` drains the server, and leaves no process',
  async () => {
    const [folder, source] = [await temporaryFolder(), await temporaryFolder()]
    await checkout(source)
    const npm = spawn('npm', ['start', '--', '--port', '0', '--json', '--data-dir', folder, '--log-level', 'info'], {
      cwd: source,
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
