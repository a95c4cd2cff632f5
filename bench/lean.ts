/**
 * Smaller processes: an agent with MCP tools alone that is lean, against the plain SDK; and what the engine's second compiler takes and
 * gives in memory and CPU time. Linux: reads /proc.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSdkMcpServer, tool } from '@anthropic-ai/claude-agent-sdk'
import { z } from 'zod'
import type { AgentOptions, Pool, Session } from '../src/index.ts'
import { bench, calm } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { PlainConversation, poolTurn, startPool } from './shared/conversation.ts'
import type { Round, Row } from './shared/report.ts'

const TURNS_BEFORE = 3
const MIB = 2 ** 20
/** The engine gives memory back a while after its work. */
const IDLE_MS = 3_500
/** Long answers, and results of tools of 170 kB, as in hours of real work. */
const WORK = [
  ...Array.from({ length: 12 }, () => '@sim tokens 600'),
  ...Array.from({ length: 6 }, () => `@sim bash head -c 170000 /dev/zero | tr '\\0' x`),
]

const servers = () => ({
  host: createSdkMcpServer({
    name: 'host',
    tools: [
      tool('look', 'Looks something up', { word: z.string() }, ({ word }) =>
        Promise.resolve({ content: [{ type: 'text', text: word }] }),
      ),
    ],
  }),
})

const MCP_ALONE = { tools: [], systemPrompt: 'Answer with your tools.' } satisfies AgentOptions

async function starts(target: Bench): Promise<Row[]> {
  const pool = await startPool(target, {
    dataDir: join(target.dir, 'lean'),
    agent: { ...MCP_ALONE, lean: true, mcpServers: servers },
  })
  const cwd = join(target.dir, 'plain-lean')
  mkdirSync(cwd)
  const extra = (): ConstructorParameters<typeof PlainConversation>[2] => ({ ...MCP_ALONE, mcpServers: servers() })
  const resume = crypto.randomUUID()
  {
    await using plain = new PlainConversation(target, cwd, { ...extra(), sessionId: resume })
    for (let turn = 0; turn < TURNS_BEFORE; turn += 1) await plain.turn('hello')
  }
  const session = await pool.session('begun', { agent: 'assistant' })
  for (let turn = 0; turn < TURNS_BEFORE; turn += 1) await poolTurn(session, 'hello', turn === 0 ? 'cold' : 'live')
  const plainTurn = async (options: object): Promise<number> => {
    await calm()
    const since = performance.now()
    await using plain = new PlainConversation(target, cwd, { ...extra(), ...options })
    return (await plain.turn('ping', since)).first
  }
  const cold = async (round: number): Promise<number> => {
    await calm()
    const fresh = await pool.session(`cold-${round}`, { agent: 'assistant' })
    const { first } = await poolTurn(fresh, 'ping', 'cold')
    await fresh.delete()
    return first
  }
  const resumed = async (): Promise<number> => {
    await session.hibernate()
    await calm()
    return (await poolTurn(session, 'ping', 'resumed')).first
  }
  const [colds, resumes]: [Round[], Round[]] = [[], []]
  for (let round = -1; round < (target.quick ? 4 : 20); round += 1) {
    const first = round % 2 === 0
    const ours = first ? [await cold(round), await resumed()] : undefined
    const theirs = [await plainTurn({}), await plainTurn({ resume })]
    const [ourCold = 0, ourResume = 0] = ours ?? [await cold(round), await resumed()]
    if (round < 0) continue
    colds.push({ ours: [ourCold], theirs: [theirs[0] ?? 0] })
    resumes.push({ ours: [ourResume], theirs: [theirs[1] ?? 0] })
  }
  const common = {
    ours: 'lean',
    theirs: 'plain SDK',
    unit: 'ms',
    compare: 'theirs / ours',
    reach: { atLeast: 1.3 },
  } as const
  return [
    { what: 'cold start, an agent with MCP tools alone: first message', rounds: colds, ...common },
    { what: 'resume without a hint, the same agent: first message', rounds: resumes, ...common },
  ]
}

/** Anonymous memory in MiB of a process, and its CPU time so far in milliseconds. */
function figuresOf(pid: number): { mib: number; cpuMs: number } {
  const anonymous = Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1_024
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return { mib: anonymous / MIB, cpuMs: (Number(stat[11]) + Number(stat[12])) * 10 }
}

interface Worked {
  mib: number
  cpuMs: number
  workMs: number
}

async function work(pool: Pool, session: Session): Promise<Worked> {
  await poolTurn(session, 'hello', 'cold')
  const pid = pool.workers().find((worker) => worker.session === session.key)?.pid ?? 0
  const since = performance.now()
  for (const prompt of WORK) await poolTurn(session, prompt, 'live')
  const workMs = performance.now() - since
  const { cpuMs } = figuresOf(pid)
  await sleep(IDLE_MS)
  const { mib } = figuresOf(pid)
  await session.delete()
  return { mib, cpuMs, workMs }
}

async function engines(target: Bench): Promise<Row[]> {
  const tools: AgentOptions = { tools: ['Bash'], allowedTools: ['Bash'], includePartialMessages: true }
  const pools = {
    usual: await startPool(target, { dataDir: join(target.dir, 'usual'), agent: tools }),
    small: await startPool(target, {
      dataDir: join(target.dir, 'small'),
      agent: { ...tools, env: { BUN_JSC_useDFGJIT: '0' } },
    }),
  }
  const measured: { usual: Worked; small: Worked }[] = []
  for (let round = 0; round < (target.quick ? 2 : 8); round += 1) {
    const side = async (name: 'usual' | 'small'): Promise<Worked> => {
      await calm()
      return work(pools[name], await pools[name].session(`${name}-${round}`, { agent: 'assistant' }))
    }
    const first = round % 2 === 0 ? await side('small') : undefined
    const usual = await side('usual')
    measured.push({ usual, small: first ?? (await side('small')) })
  }
  const row = (what: string, unit: 'MiB' | 'ms', read: (worked: Worked) => number, atMost: number): Row => ({
    what: `a process without the engine's second compiler, ${what}`,
    ours: 'without',
    theirs: 'with',
    unit,
    rounds: measured.map(({ usual, small }) => ({ ours: [read(small)], theirs: [read(usual)] })),
    compare: 'ours / theirs',
    reach: { atMost },
  })
  return [
    row('anonymous memory when idle after work', 'MiB', ({ mib }) => mib, 0.9),
    row('CPU time of the work', 'ms', ({ cpuMs }) => cpuMs, 1.02),
    row('time of the work', 'ms', ({ workMs }) => workMs, 1.02),
  ]
}

await bench(async (target) => [...(await starts(target)), ...(await engines(target))])
