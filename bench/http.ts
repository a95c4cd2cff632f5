/** The pool over HTTP, beside the library: what that costs a turn, and how a server begins and ends. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Session } from '../src/index.ts'
import { createServer, listen } from '../src/server/index.ts'
import { bench, calm, left } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { startPool } from './shared/conversation.ts'
import { streamOf } from './shared/http-host.ts'
import type { Round, Row } from './shared/report.ts'
import { serve } from './shared/serving.ts'
import { connections, turnOverHttp } from './shared/turn-over-http.ts'

const WARM_UP_TURNS = 10

async function turnInLibrary(session: Session): Promise<{ first: number; assistant: number }> {
  const since = performance.now()
  const times: { first?: number; assistant?: number } = {}
  for await (const { type } of session.send('ping')) {
    times.first ??= performance.now() - since
    if (type === 'assistant') times.assistant ??= performance.now() - since
  }
  return { first: times.first ?? Number.NaN, assistant: times.assistant ?? Number.NaN }
}

/** A live turn over HTTP and in the library, on one session: the same process, the same events. */
async function firstEvent(target: Bench): Promise<Row[]> {
  const pool = await startPool(target)
  const server = createServer(pool)
  const { url } = await listen(server, { port: 0 })
  const first: Round[] = []
  const assistant: Round[] = []
  for (let pair = 0; pair < (target.quick ? 1 : 5); pair += 1) {
    const session = await pool.session(`http-${pair}`, { agent: 'assistant' })
    await session.send('hello').result
    await calm()
    const firsts: Round = { ours: [], theirs: [] }
    const assistants: Round = { ours: [], theirs: [] }
    for (let turn = 0; turn < WARM_UP_TURNS + (target.quick ? 20 : 60); turn += 1) {
      for (const side of turn % 2 === 0 ? (['theirs', 'ours'] as const) : (['ours', 'theirs'] as const)) {
        await sleep(5)
        const times = await (side === 'ours' ? turnOverHttp(url, session.key) : turnInLibrary(session))
        if (turn < WARM_UP_TURNS) continue
        firsts[side].push(times.first)
        assistants[side].push(times.assistant)
      }
    }
    first.push(firsts)
    assistant.push(assistants)
    await session.delete()
  }
  connections.destroy()
  await pool.close()
  server.close()
  const sides = { ours: 'HTTP', theirs: 'library', unit: 'ms', compare: 'ours - theirs', reach: { atMost: 3 } } as const
  return [
    { what: 'live turn, first event', rounds: first, ...sides },
    { what: 'the same, first words', rounds: assistant, ...sides },
  ]
}

/** Until `/readyz` says ready, without a spare and with one that is always kept. */
async function start(target: Bench): Promise<Row[]> {
  const rounds: Record<'without' | 'withOne', Round[]> = { without: [], withOne: [] }
  for (let round = 0; round < (target.quick ? 2 : 10); round += 1) {
    for (const [name, spares] of [['without', 0] as const, ['withOne', 1] as const]) {
      const { child, readyMs } = await serve(target, spares)
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
      rounds[name].push({ ours: [readyMs], theirs: [] })
    }
  }
  const rest = { theirs: '', unit: 'ms', compare: 'ours' } as const
  return [
    {
      what: '`serve`, from its start to ready',
      rounds: rounds.without,
      ours: 'spares off',
      reach: { atMost: 1_000 },
      ...rest,
    },
    { what: 'the same', rounds: rounds.withOne, ours: '`spares: { min: 1 }`', reach: { atMost: 2_000 }, ...rest },
  ]
}

const TURNS = 6

/** What a stream said, until the server closed it. */
async function said(response: Response): Promise<string> {
  try {
    return await response.text()
  } catch (error) {
    return `(broken: ${String(error)})`
  }
}

/** Ends a server whose turns run: how many of them ended without a word, and the processes it left. */
async function endUnderLoad(target: Bench): Promise<{ silent: number; left: number }> {
  const { child, url, mark } = await serve(target)
  const texts: Promise<string>[] = []
  const checks: RegExp[] = []
  for (let turn = 0; turn < TURNS; turn += 1) {
    // Some end within the grace, some do not.
    const prompt = turn % 2 === 0 ? '@sim delay 60000' : '@sim delay 1000'
    const response = await fetch(`${url}/sessions/turn-${turn}/messages`, {
      method: 'POST',
      body: JSON.stringify({ prompt }),
    })
    texts.push(said(response))
    checks.push(/event: (?:done|error)\n[^\n]*\n\n$/)
    const created = await fetch(`${url}/v1/sessions`, {
      method: 'POST',
      body: JSON.stringify({ agent: 'agent_assistant', environment_id: 'env_local' }),
    })
    const { id } = (await created.json()) as { id: string }
    texts.push(said(await fetch(url + streamOf(id))))
    checks.push(/event: session\.status_idle\n/)
    await fetch(`${url}/v1/sessions/${id}/events`, {
      method: 'POST',
      body: JSON.stringify({ events: [{ type: 'user.message', content: [{ type: 'text', text: prompt }] }] }),
    })
  }
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const all = await Promise.all(texts)
  const [code] = (await exited) as [number | null]
  if (code !== 0) throw new Error(`serve ended with ${String(code)}`)
  const silent = all.filter((text, index) => !(checks[index] as RegExp).test(text))
  for (const text of silent) console.error(`ended without a word: …${text.slice(-500)}`)
  return { silent: silent.length, left: left(mark).length }
}

async function end(target: Bench): Promise<Row[]> {
  const silent: Round[] = []
  const behind: Round[] = []
  for (let round = 0; round < (target.quick ? 1 : 5); round += 1) {
    const ended = await endUnderLoad(target)
    silent.push({ ours: [ended.silent], theirs: [] })
    behind.push({ ours: [ended.left], theirs: [] })
  }
  const what = `SIGTERM with ${2 * TURNS} turns running`
  const rest = { theirs: '', compare: 'ours', reach: { atMost: 0 } } as const
  return [
    { what, rounds: silent, ours: 'turns cut without a word', unit: 'turns', ...rest },
    { what, rounds: behind, ours: 'processes left', unit: 'processes', ...rest },
  ]
}

await bench(async (target) => [...(await firstEvent(target)), ...(await start(target)), ...(await end(target))])
