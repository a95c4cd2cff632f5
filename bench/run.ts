/** `npm run bench [-- NAME … --json --quick]`: runs the benchmarks one after the other, each in a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const ALL = [
  'live',
  'spares',
  'hibernation',
  'throughput',
  'memory',
  'scale',
  'pressure',
  'patterns',
  'sampling',
  'store',
  'journal',
  'starts',
  'capacity',
  'tools',
  'crowd',
  'http',
  'streams',
  'hostile',
  'proxy',
  'density',
  'lean',
  'page',
  'observability',
  'cluster',
]
/** Runs for an hour: only by name. */
const BY_NAME = ['chaos']
const FLAGS = ['--json', '--quick']
const CHAOS_FLAGS = ['--faults', '--sessions', '--hosts', '--minutes', '--seed', '--only', '--control']

const given = process.argv.slice(2)
const flags = given.filter((word) => word.startsWith('--'))
const names = given.filter((word) => !word.startsWith('--'))
const known = names.includes('chaos') ? [...FLAGS, ...CHAOS_FLAGS] : FLAGS
const unknown = [
  ...flags.filter((flag) => !known.includes(flag.split('=')[0] ?? '')),
  ...names.filter((name) => !ALL.includes(name) && !BY_NAME.includes(name)),
]
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; known are: ${[...ALL, ...BY_NAME, ...FLAGS].join(', ')}`)
  process.exit(2)
}

const json = flags.includes('--json')
const reports: Record<string, unknown> = {}
let interrupted = false
let worst = 0
for (const name of names.length > 0 ? names : ALL) {
  if (!json) console.log(`${name}\n`)
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, `${name}.ts`), ...flags],
    { stdio: ['ignore', json ? 'pipe' : 'inherit', 'inherit'] },
  )
  let output = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const interrupt = (): void => {
    interrupted = true
    child.kill('SIGTERM')
  }
  process.on('SIGTERM', interrupt).on('SIGINT', interrupt)
  const [code] = (await once(child, 'close')) as [number | null]
  process.off('SIGTERM', interrupt).off('SIGINT', interrupt)
  if (interrupted) process.exit(130)
  worst = Math.max(worst, code ?? 2)
  if (json) reports[name] = output === '' ? null : JSON.parse(output)
}
if (json) console.log(JSON.stringify(reports, undefined, 2))
process.exitCode = worst
