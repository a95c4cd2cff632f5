/** `npm run demo:cluster`: the demo of a cluster, on a PostgreSQL of its own that goes with it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { startOwnPostgres } from '../test/fixtures/postgres-server.ts'

await using server = await startOwnPostgres()
const words = ['dist/cli/main.js', 'demo', '--cluster', ...process.argv.slice(2)]
const child = spawn(process.execPath, words, {
  stdio: 'inherit',
  env: { ...process.env, CLAUDE_AGENT_POOL_STORE: server.url('demo') },
})
const passOn = (signal: NodeJS.Signals): boolean => child.kill(signal)
process.on('SIGINT', () => undefined).on('SIGTERM', passOn)
const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143)
