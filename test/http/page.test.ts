import { existsSync } from 'node:fs'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { hashKey } from '../../src/server/auth/authenticator.ts'
import { post, serve } from './serving.ts'
import type { Serving } from './serving.ts'

/** Debian's, or the one that the environment names. */
const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

const built = join(import.meta.dirname, '../../dist/page')

const NO_SPARES = 'spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5'

const OPERATOR = 'operator-key-0123456789abcdef'
const TENANT = 'tenant-key-0123456789abcdef'

/** Gzip, as the server sends it. */
const MOST_BYTES = 60 * 1_024

test('the built page has at most 60 KiB, and names no other host', async () => {
  const names = (await readdir(built, { recursive: true })).filter((name) => /\.\w+$/.test(name))
  const files = await Promise.all(names.map((name) => readFile(join(built, name))))
  expect(names).toContain('index.html')
  expect(files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0)).toBeLessThanOrEqual(MOST_BYTES)
  const hosts = files.flatMap((file) => file.toString().match(/https?:\/\/[\w.-]+/g) ?? [])
  // Names of formats, not places.
  expect(new Set(hosts)).toEqual(new Set(['http://www.w3.org']))
})

describe.skipIf(!existsSync(executablePath))(`in a browser (skipped where ${executablePath} is not there)`, () => {
  let browser: Browser

  beforeAll(async () => {
    // Root can't have the sandbox, and a GPU process of its own fails where only root may read `/`.
    const args = ['--no-sandbox', '--disable-dev-shm-usage', '--no-zygote', '--in-process-gpu']
    browser = await chromium.launch({ executablePath, args })
  })
  afterAll(() => browser?.close())

  /** A page that lists what went wrong in it: errors, what its policy refused, and requests to other hosts. */
  async function open(
    { url, page: address = `${url}/` }: Pick<Serving, 'url' | 'page'>,
    options: BrowserContextOptions = {},
  ): Promise<{ page: Page; wrong: string[] }> {
    const context = await browser.newContext(options)
    onTestFinished(() => context.close())
    const page = await context.newPage()
    // The test's own time bounds each wait.
    page.setDefaultTimeout(0)
    const wrong: string[] = []
    page.on('console', (message) => void (message.type() === 'error' && wrong.push(message.text())))
    page.on('pageerror', (error) => void wrong.push(error.message))
    page.on('request', (request) => void (request.url().startsWith(url) || wrong.push(request.url())))
    await page.goto(address)
    return { page, wrong }
  }

  test('an operator sees what runs, talks to an agent, answers its question in place, and acts with the keyboard', async () => {
    const serving = await serve(`agents:
  writer: { ${NO_SPARES}, tools: [Bash], permissionMode: default }
`)
    const { command } = serving
    await (await post(serving, 'earlier', 'Hello')).text()
    // Its agents are isolated if that works here: then the address has the key of the start.
    const { page, wrong } = await open(serving)
    expect(page.url()).not.toContain('key=')
    await page.getByText('Nothing runs, and nothing waits.').waitFor()
    expect(await page.title()).toBe('Overview · claude-agent-pool')
    await page.getByRole('img', { name: 'Turns by how they found their process: cold 1' }).waitFor()
    await page.getByRole('group', { name: / in use$/ }).waitFor()

    // To the form of a new conversation without a mouse.
    await page.getByRole('link', { name: 'Talk', exact: true }).focus()
    await page.keyboard.press('Enter')
    await page.getByLabel('Session').fill('plan')
    await page.keyboard.press('Enter')
    await page.getByText('Your first message begins it with the agent writer.').waitFor()
    await page.getByLabel('Message to the agent').fill('@sim bash until [ -e go ]; do sleep 0.1; done; rm go')
    await page.keyboard.press('Enter')
    const question = page.getByRole('region', { name: 'The agent asks' })
    await question.getByText('until [ -e go ]').waitFor()
    await page.getByText('permission Bash', { exact: true }).waitFor()
    await question.getByRole('button', { name: 'Allow' }).click()
    await page.getByText('tool Bash', { exact: true }).waitFor()
    await page.getByRole('img', { name: /^Phases in their order: .*permission Bash .*tool Bash/ }).waitFor()
    await page
      .getByRole('cell', { name: /^(bash|sh|\/bin\/\w+)/ })
      .first()
      .waitFor()

    await page.getByRole('button', { name: 'Interrupt' }).focus()
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog', { name: 'Interrupt the turn?' })
    await dialog.waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect(await page.getByText('tool Bash', { exact: true }).count()).toBe(1)
    await page.keyboard.press('Enter')
    await dialog.waitFor()
    await page.keyboard.press('Enter')
    await page.getByText('The turn is interrupted.').waitFor()
    await page.getByRole('article', { name: /^Turn that began at / }).waitFor()

    await page
      .getByRole('link', { name: /^Sessions/ })
      .first()
      .click()
    await page.getByRole('link', { name: 'earlier' }).waitFor()
    await page.getByLabel('Search sessions').fill('plan')
    await page.getByText('1 found').waitFor()
    expect(await page.getByRole('row').count()).toBe(2)
    await page.getByRole('button', { name: 'Tokens' }).click()
    await page.getByRole('columnheader', { name: 'Tokens' }).and(page.locator('[aria-sort=descending]')).waitFor()

    await page.getByRole('link', { name: /^Workers/ }).click()
    const row = page.getByRole('row', { name: /earlier/ })
    await row.getByRole('button', { name: /^Close/ }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Close worker' }).click()
    await page.getByText(/^Worker w-\w+ is closed\.$/).waitFor()
    await row.waitFor({ state: 'detached' })
    await page.getByRole('link', { name: 'Agents' }).click()
    await page.getByRole('rowheader', { name: 'writer' }).waitFor()

    await page.getByRole('link', { name: /^Overview/ }).click()
    // After its end the server cannot be reached, which is an error there.
    expect(wrong).toEqual([])
    await page.getByRole('button', { name: 'Drain' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click()
    const { code, stderr } = await command.ended
    expect([code, stderr]).toEqual([0, expect.stringMatching(/"action":"drain".*"operator action"/)])
  }, 180_000)

  test('with keys it wants an operator’s key, fits a narrow screen, is dark where that is wished, and loses its page with the key', async () => {
    const server = `keys: [{ tenant: acme, sha256: ${hashKey(TENANT)} }], operators: [{ name: ann, sha256: ${hashKey(OPERATOR)} }]`
    const serving = await serve(`agents: { support: { ${NO_SPARES} } }\nserver: { page: true, ${server} }`)
    const { command } = serving
    const { page, wrong } = await open(serving, { colorScheme: 'dark', viewport: { width: 360, height: 700 } })
    const key = page.getByLabel('Key')
    for (const [text, says] of [
      [TENANT, /no operator's key/],
      ['x'.repeat(24), /no operator's key/],
    ] as const) {
      await key.fill(text)
      await page.keyboard.press('Enter')
      await page.getByRole('alert').filter({ hasText: says }).waitFor()
    }
    await key.fill(OPERATOR)
    await page.keyboard.press('Enter')
    await page.getByText('Nothing runs, and nothing waits.').waitFor()
    for (const name of ['Overview', 'Sessions', 'Workers', 'Agents', 'Warnings', 'Talk']) {
      await page
        .getByRole('link', { name: new RegExp(`^${name}`) })
        .first()
        .click()
      await page.getByRole('heading', { level: 1 }).waitFor()
      const wide = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
      expect([name, wide]).toEqual([name, 0])
    }
    const lightness = await page.evaluate(
      `getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((sum, each) => sum + Number(each), 0)`,
    )
    expect(lightness).toBeLessThan(150)
    await page.getByRole('link', { name: /^Overview/ }).click()
    await page.getByRole('button', { name: 'Suspend', exact: true }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click()
    await page.getByText('The pool is suspended: no new turn starts.').waitFor()
    await command.said(/"operator":"ann","action":"suspend".*"operator action"/)
    // A tab of its own has no key.
    const { page: other } = await open(serving)
    await other.getByText('Keys of tenants do not open this page').waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await key.waitFor()
    // What a key was refused for is in the console; nothing else.
    expect(wrong.filter((problem) => !problem.includes('401'))).toEqual([])
  }, 120_000)
})
