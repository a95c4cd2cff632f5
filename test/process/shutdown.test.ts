import { fork } from 'node:child_process'
import { once } from 'node:events'
import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import type { TerminateReport } from '../../src/index.ts'
import { identify } from '../faults/procfs.ts'
import { Witness } from '../faults/witness.ts'
import { MODEL, modelAsked, openSite, say, until } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const program = fileURLToPath(new URL('../fixtures/shutdown-host.ts', import.meta.url))

const LONG_MS = 60_000

interface Said {
  outcome?: string
  left?: TerminateReport & { reason: string }
}

/** What there is once the host has exited. */
interface Ended {
  code: number | null
  /** Outcomes of its turns and departures of its workers, in order. */
  said: Said[]
  stderr: string
}

/** A host of its own with the session `one`. */
class Host {
  readonly witness: Witness
  readonly ended: Promise<Ended>
  readonly #child
  readonly #said: Said[] = []

  constructor(site: Site, graceMs: number) {
    const options = {
      dataDir: site.dataDir,
      api: { baseUrl: site.simulator.url, key: 'simulated' },
      agents: { a: { model: MODEL, allowedTools: ['Bash'], spares: { max: 0 }, unboundSpares: { max: 0 } } },
    }
    const child = fork(program, [JSON.stringify({ options, graceMs })], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      execArgv: ['--no-warnings'],
    })
    this.#child = child
    this.witness = new Witness(site.root, identify(child.pid ?? 0))
    child.on('message', (message: Said) => void this.#said.push(message))
    this.ended = this.#end(text(child.stderr as NodeJS.ReadableStream))
    onTestFinished(async () => {
      child.kill('SIGKILL')
      await this.ended
    })
  }

  async #end(stderr: Promise<string>): Promise<Ended> {
    const [code] = (await once(this.#child, 'exit')) as [number | null]
    return {
      code,
      said: this.#said.filter(({ outcome, left }) => (outcome ?? left) !== undefined),
      stderr: await stderr,
    }
  }

  ask(request: { do: 'send'; key: string; text: string } | { do: 'throw' } | { do: 'reject' }): void {
    this.#child.send(request)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  async hears(words: string): Promise<void> {
    await until(() => {
      if (!this.#said.some(({ outcome }) => outcome?.includes(words) === true))
        throw new Error(`it has not said "${words}", but ${JSON.stringify(this.#said)}`)
    })
  }
}

async function startHost(site: Site, graceMs = LONG_MS): Promise<Host> {
  const host = new Host(site, graceMs)
  host.ask({ do: 'send', key: 'one', text: 'first' })
  await host.hears('[turn 1] You said: first')
  return host
}

/** Nothing is left at the very moment in which the host has exited: it ended all of it itself. */
const expectNothingLeft = ({ witness }: Host): void => expect(witness.look()).toEqual([])

/** A turn whose command runs until the test lets it go on. */
async function busyTurn(site: Site, host: Host): Promise<() => Promise<void>> {
  const [script, up, go] = ['wait.sh', 'up', 'go'].map((name) => join(site.root, name)) as [string, string, string]
  await writeFile(script, `touch ${up}\nwhile [ ! -e ${go} ]; do sleep 0.05; done\necho done\n`)
  host.ask({ do: 'send', key: 'one', text: `@sim bash sh ${script}` })
  await until(() => access(up))
  host.witness.look()
  return () => writeFile(go, '')
}

/** The session is whole for the next host, which finds its data directory free. */
async function goesOn(site: Site, turn: number): Promise<void> {
  const session = await (await site.pool()).session('one', { agent: 'a' })
  expect(await say(session, 'next')).toEqual({ text: `[turn ${turn}] You said: next`, warmth: 'resumed' })
}

test.for(['SIGTERM', 'SIGINT'] as const)(
  '%s lets a running turn finish, hibernates its worker, leaves nothing and exits with 0',
  async (name, { skip }) => {
    skip(!WHOLE && name === 'SIGINT', 'SIGTERM is handled alike')
    const site = await openSite()
    const host = await startHost(site)
    const letGo = await busyTurn(site, host)
    host.signal(name)
    // It takes no new turns from then on; the one that runs is not touched.
    await host.hears(name)
    host.ask({ do: 'send', key: 'two', text: 'refused' })
    await host.hears('pool_closed')
    await letGo()
    const { code, said } = await host.ended
    expectNothingLeft(host)
    expect(code).toBe(0)
    const outcomes = said.flatMap(({ outcome }) => outcome ?? [])
    expect(outcomes.at(-1)).toMatch(/^\[turn 2\] tool said: done/)
    expect(said.at(-1)).toMatchObject({ left: { reason: 'closed', stage: 'eof', left: 0 } })
    await goesOn(site, 3)
  },
)

test('An idle host that is told to go goes at once', async () => {
  const site = await openSite()
  const host = await startHost(site)
  host.signal('SIGTERM')
  const { code, said } = await host.ended
  expectNothingLeft(host)
  expect(code).toBe(0)
  expect(said.at(-1)).toMatchObject({ left: { reason: 'closed', stage: 'eof' } })
})

test('When the grace is over, the turn ends with the pool, and the host exits with 0', async () => {
  const site = await openSite()
  const host = await startHost(site, 500)
  host.ask({ do: 'send', key: 'one', text: 'second\n@sim silence' })
  await modelAsked(site, 'second')
  host.signal('SIGTERM')
  const { code, said } = await host.ended
  expectNothingLeft(host)
  expect(code).toBe(0)
  expect(said).toContainEqual({ outcome: 'pool_closed' })
  await goesOn(site, 3)
})

test.for([
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const)(
  'A second signal, %s, cuts the grace, leaves nothing and exits with %i',
  async ([name, status], { skip }) => {
    skip(!WHOLE && name === 'SIGINT', 'SIGTERM is handled alike')
    const site = await openSite()
    const host = await startHost(site)
    await busyTurn(site, host)
    host.signal('SIGTERM')
    // Only a host that has taken note of the first has a second.
    await host.hears('SIGTERM')
    host.signal(name)
    const { code, said } = await host.ended
    expectNothingLeft(host)
    expect(code).toBe(status)
    expect(said.at(-1)).toMatchObject({ left: { reason: 'closed', left: 0 } })
    await goesOn(site, 3)
  },
)

test.for([
  ['throw', 'nobody caught this error'],
  ['reject', 'nobody caught this rejection'],
] as const)(
  'After an error that nobody caught (%s) the processes end before the host, which exits with 1',
  async ([how, words], { skip }) => {
    skip(!WHOLE && how === 'reject', 'a throw is handled alike')
    const site = await openSite()
    const host = await startHost(site)
    await busyTurn(site, host)
    host.ask({ do: how })
    const { code, said, stderr } = await host.ended
    expectNothingLeft(host)
    expect(code).toBe(1)
    expect(stderr).toContain(words)
    expect(said.at(-1)).toMatchObject({ left: { reason: 'closed', left: 0 } })
    await goesOn(site, 3)
  },
)
