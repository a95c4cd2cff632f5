/** `record.ts SRC TESTING`: runs a live turn on what the module TESTING exports, and prints the functions of SRC that V8 saw called, as JSON. */
import { Session } from 'node:inspector/promises'
import { pathToFileURL } from 'node:url'

/** A function that ran: where it stands in its file, in UTF-16 units. */
export interface Ran {
  url: string
  name: string
  start: number
  end: number
}

interface AnyPool {
  pool: {
    session(key: string, options: { agent: string }): Promise<{ send(prompt: string): { result: Promise<unknown> } }>
  }
}

const [, , src = '', testing = ''] = process.argv
const inspector = new Session()
inspector.connect()
await inspector.post('Profiler.enable')
await inspector.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
const { createTestPool } = (await import(pathToFileURL(testing).href)) as {
  createTestPool: () => Promise<AnyPool & AsyncDisposable>
}
/** Long enough for all that needs no time: the fake clock stands still. */
const quiet = async (): Promise<void> => {
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve))
}

await using test = await createTestPool()
const session = await test.pool.session('session', { agent: 'assistant' })
// The first turn starts the process; the second finds it alive.
await session.send('first').result
await quiet()
await inspector.post('Profiler.takePreciseCoverage')
await session.send('second').result
await quiet()
const { result } = await inspector.post('Profiler.takePreciseCoverage')
const ran: Ran[] = result
  .filter(({ url }) => url.startsWith(pathToFileURL(`${src}/`).href))
  .flatMap(({ url, functions }) =>
    functions.flatMap(({ functionName: name, ranges: [range] }) =>
      range === undefined || range.count === 0 ? [] : [{ url, name, start: range.startOffset, end: range.endOffset }],
    ),
  )
process.stdout.write(JSON.stringify(ran))
