import { existsSync } from 'node:fs'
import { readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Page } from 'playwright-core'
import { createServer } from 'vite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { hashKey } from '../../src/server/auth/authenticator.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { serve } from './serving.ts'

const project = join(import.meta.dirname, '../..')

/** Debian's, or the one that the environment names. */
const browser = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

const AGENT = 'support: { spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5 }'

const KEY = 'cap_0123456789abcdef0123456789'

/** What a Vite project has around `src/App.tsx`. */
const MAIN = `import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import App from './App.tsx'
createRoot(document.getElementById('root')!).render(<StrictMode><App /></StrictMode>)
`
const HTML = '<!doctype html><div id="root"></div><script type="module" src="/main.tsx"></script>'

const PACKAGES = ['react', 'react/jsx-dev-runtime', 'react-dom/client', '@ag-ui/client']

/** A page of an origin of its own, and the chat of the documentation in it. */
interface Site {
  origin: string
  /** Pastes the chat: only the server's address and the token are not those of the documentation. */
  readonly paste: (server: string, token?: string) => Promise<void>
}

async function site(): Promise<Site> {
  const root = await temporaryFolder()
  await symlink(join(project, 'node_modules'), join(root, 'node_modules'))
  await writeFile(join(root, 'main.tsx'), MAIN)
  await writeFile(join(root, 'index.html'), HTML)
  const vite = await createServer({
    root,
    configFile: false,
    logLevel: 'error',
    cacheDir: join(root, '.vite'),
    // Named, for without HMR a page that has come before a package was found is not loaded again.
    optimizeDeps: { include: PACKAGES, noDiscovery: true },
    server: { host: 'localhost', port: 0, hmr: false, watch: null, fs: { strict: false } },
  })
  await vite.listen()
  onTestFinished(() => vite.close())
  return {
    origin: vite.resolvedUrls?.local[0]?.replace(/\/$/, '') ?? '',
    async paste(server, token = '') {
      const docs = await readFile(join(project, 'docs/front-ends.md'), 'utf8')
      const [, chat = ''] = /^```tsx\n(.*?)^```$/ms.exec(docs) ?? []
      const pasted = chat
        .replace('http://127.0.0.1:8080', server)
        .replace("const token = ''", `const token = '${token}'`)
      expect(pasted).toContain(`'${server}/ag-ui/support'`)
      await writeFile(join(root, 'App.tsx'), pasted)
    },
  }
}

async function open(origin: string): Promise<Page> {
  // Root can't have the sandbox, and a GPU process of its own fails where only root may read `/`.
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--no-zygote', '--in-process-gpu']
  const running = await chromium.launch({ executablePath: browser, args })
  onTestFinished(() => running.close())
  const page = await running.newPage()
  // The test's own time bounds each wait.
  page.setDefaultTimeout(0)
  await page.goto(origin)
  return page
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByPlaceholder('Ask something').fill(text)
  await page.getByRole('button', { name: 'Send' }).click()
}

describe.skipIf(!existsSync(browser))(`in a browser (skipped where ${browser} is not there)`, () => {
  test('the chat of the documentation talks, stops, goes on, and has its conversation back after a reload', async () => {
    const { origin, paste } = await site()
    const { url } = await serve(`agents: { ${AGENT} }\nserver: { origins: ['${origin}'] }`)
    await paste(url)
    const page = await open(origin)
    await say(page, 'Hello')
    await page.getByText('assistant: [turn 1] You said: Hello').waitFor()
    await say(page, '@sim tokens 20000 pace 20')
    await page.getByText(/^assistant: \[turn 2\] \w+/).waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    await say(page, 'And now?')
    await page.getByText('assistant: [turn 3] You said: And now?').waitFor()
    await page.reload()
    await page.getByText('assistant: [turn 3] You said: And now?').waitFor()
    expect(await page.getByRole('alert').count()).toBe(0)
    const shown = await page.locator('p').allTextContents()
    expect(shown.filter((text) => text.startsWith('user: '))).toEqual([
      'user: Hello',
      'user: @sim tokens 20000 pace 20',
      'user: And now?',
    ])
  })

  test('a page that its backend gave a browser token talks to a server with keys, until that is revoked', async () => {
    const { origin, paste } = await site()
    const keys = `keys: [{ tenant: acme, sha256: ${hashKey(KEY)} }]`
    const { url } = await serve(`agents: { ${AGENT} }\nserver: { origins: ['${origin}'], ${keys} }`)
    const headers = { 'x-api-key': KEY }
    const body = JSON.stringify({ agents: ['support'], sessions: ['ada'] })
    const made = await fetch(`${url}/browser-tokens`, { method: 'POST', headers, body })
    const { id, token } = (await made.json()) as { id: string; token: string }
    await paste(url, token)
    const page = await open(origin)
    await say(page, 'Hello')
    await page.getByText('assistant: [turn 1] You said: Hello').waitFor()
    await fetch(`${url}/browser-tokens/${id}`, { method: 'DELETE', headers })
    await say(page, 'Still there?')
    await page.getByRole('alert').getByText('401').waitFor()
  })

  test('a page of another local port is not let in', async () => {
    const { origin, paste } = await site()
    const { url } = await serve(`agents: { ${AGENT} }`)
    await paste(url)
    const page = await open(origin)
    await page.getByRole('alert').getByText('Failed to fetch').waitFor()
  })
})
