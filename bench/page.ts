/** The operator's page in a browser: how soon it shows the sessions, and what a page that is open costs the server. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import type { Browser } from 'playwright-core'
import { bench, calm, reply, startRole } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import type { Round, Row } from './shared/report.ts'

const SESSIONS = 10_000
const TURNS_PER_SECOND = 25

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** Long enough for several looks at everything. */
const WATCHED_MS = 10_000

/** Resolves in the page, in the frame that shows it: a locator that waits looks twice a second in the end. */
const shown = `new Promise((resolve) => {
  const look = () =>
    document.querySelectorAll('tbody tr').length >= 50 &&
    document.body.textContent.includes('${SESSIONS.toLocaleString('en')} sessions')
      ? resolve()
      : requestAnimationFrame(look)
  look()
})`

interface Measured {
  firstViewMs: number
  /** Percent of a core, with a page and without. */
  watched: number
  alone: number
}

async function measure({ dir, owned, quick }: Bench, browser: Browser): Promise<Measured> {
  const child = startRole('page-host.ts', [join(dir, 'page'), String(SESSIONS), String(TURNS_PER_SECOND)], dir)
  owned.defer(() => void (child.connected && child.disconnect()))
  const url = await reply<string>(child)
  const cpuMs = (): Promise<number> => {
    const answer = reply<number>(child)
    child.send('cpu')
    return answer
  }
  const share = async (): Promise<number> => {
    const [before, since] = [await cpuMs(), performance.now()]
    await sleep(quick ? 2_000 : WATCHED_MS)
    return (((await cpuMs()) - before) / (performance.now() - since)) * 100
  }
  // The first turns compile code, and start processes.
  await sleep(quick ? 1_000 : 5_000)
  await calm()
  const alone = await share()
  const page = await browser.newPage()
  page.setDefaultTimeout(60_000)
  const since = performance.now()
  await page.goto(`${url}/#/sessions`)
  await page.evaluate(shown)
  const firstViewMs = performance.now() - since
  await sleep(quick ? 500 : 2_000)
  const watched = await share()
  await page.close()
  const exited = once(child, 'exit')
  child.disconnect()
  await exited
  return { firstViewMs, watched, alone }
}

const rowsOf = (views: readonly Round[], costs: readonly Round[]): Row[] => [
  {
    what: 'page with 10,000 sessions: first view',
    ours: 'page',
    theirs: '',
    unit: 'ms',
    rounds: views,
    compare: 'ours',
    reach: { atMost: 1_000 },
  },
  {
    what: 'server CPU at 50 events/s, of a core',
    ours: 'with a page',
    theirs: 'without',
    unit: '%',
    rounds: costs,
    compare: 'ours - theirs',
    reach: { atMost: 5 },
  },
]

await bench(async (target) => {
  if (!existsSync(executablePath)) throw new Error(`${executablePath} is not there; CHROMIUM names another browser`)
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--no-zygote', '--in-process-gpu']
  const browser = await chromium.launch({ executablePath, args })
  target.owned.defer(() => browser.close())
  // The first browser page compiles, and the first host makes the sessions.
  const views: Round[] = []
  const costs: Round[] = []
  for (let round = 0; round < (target.quick ? 1 : 5); round += 1) {
    const { firstViewMs, watched, alone } = await measure(target, browser)
    views.push({ ours: [firstViewMs], theirs: [firstViewMs] })
    costs.push({ ours: [watched], theirs: [alone] })
  }
  return rowsOf(views, costs)
})
