import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { SqliteStore } from '../../src/store/sqlite.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

type Line = [what: string, session: number, amount: number]

/** Runs the worker until it has acknowledged so much, kills it, and gives all it has said. */
async function killedAfter(path: string, lines: number, seed: number): Promise<Line[]> {
  const child = fork(join(import.meta.dirname, '../fixtures/store-crash.ts'), [path, `${seed}`], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const said: Line[] = []
  const exited = once(child, 'exit')
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    said.push(JSON.parse(line) as Line)
    if (said.length === lines) child.kill('SIGKILL')
  }
  await exited
  return said
}

test.each([20, 137, 400, 701])(
  'a process killed after it has said %i things has lost nothing it has said',
  async (lines) => {
    const folder = await temporaryFolder()
    const path = join(folder, 'pool.sqlite')
    const said = await killedAfter(path, lines, lines)
    const last = (what: string, session: number): number =>
      said.findLast(([said, of]) => said === what && of === session)?.[2] ?? 0
    const store = new SqliteStore(path)
    onTestFinished(() => store.close())
    for (let session = 0; session < 5; session += 1) {
      const transcript = await store.loadTranscript({ tenant: 't', project: 'p', sdkSessionId: `sdk ${session}` })
      const events = await store.readEvents(`uid ${session}`, { limit: 100_000 })
      const found: Record<string, number> = {
        events: events.length,
        transcript: transcript?.length ?? 0,
        turns: (await store.get('t', `k${session}`))?.turns ?? 0,
      }
      expect(events.map(({ number }) => number)).toEqual(events.map((_, index) => index + 1))
      expect(transcript ?? []).toEqual((transcript ?? []).map((_, index) => `${index}`))
      for (const [what, amount] of Object.entries(found)) {
        // What was acknowledged is there; what was only begun is there as a whole or not at all.
        expect([last(what, session), last(`${what} begun`, session)]).toContain(amount)
      }
    }
  },
)
