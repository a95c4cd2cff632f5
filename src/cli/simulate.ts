import { Command } from 'commander'
import { ConfigError } from '../errors.ts'
import type { LoopbackHost, Simulator } from '../simulator/server.ts'

interface Flags {
  port: string
  host: string
  scenario?: string
  json?: true
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(port <= 65_535))
    throw new ConfigError('--port', `"${text}" is not a port; give a number from 0 (any free one) to 65535`)
  return port
}

/** The first of the signals that end a command. From then on a second one ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      process.off('SIGINT', stop).off('SIGTERM', stop)
      resolve()
    }
    process.on('SIGINT', stop).on('SIGTERM', stop)
  })
}

function announce({ url, port }: Simulator, asJson: boolean): void {
  const env = { ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: 'simulated' }
  if (asJson) return console.log(JSON.stringify({ url, port, env }))
  console.log(`The simulated model listens on ${url}. In the shell of your program:\n`)
  for (const [name, value] of Object.entries(env)) console.log(`  export ${name}=${value}`)
  console.log('\nLines such as "@sim tokens 200 pace 20" in a prompt script its answer. Ctrl-C stops it.')
}

async function simulate({ port, host, scenario, json }: Flags): Promise<void> {
  const stopped = stopSignal()
  // Not before it is needed: the help of all commands should be there at once.
  const { loadScenario, startSimulator } = await import('../simulator/server.ts')
  await using simulator = await startSimulator({
    port: portOf(port),
    host: host as LoopbackHost, // startSimulator refuses any other
    ...(scenario === undefined ? {} : { scenario: await loadScenario(scenario) }),
    recordLimit: 0,
  })
  announce(simulator, json === true)
  await stopped
}

/** `claude-agent-pool simulate`: the simulated model, until SIGINT or SIGTERM. */
export function simulateCommand(): Command {
  return new Command('simulate')
    .description('Run a simulated model: the Messages API on loopback, without a key or a token spent')
    .option('--port <number>', 'port to listen on; 0 takes any free one', '8399')
    .option('--host <address>', 'loopback address to listen on', '127.0.0.1')
    .option('--scenario <file>', 'YAML or JSON file that scripts the answers')
    .option('--json', 'print the address as JSON')
    .action(simulate)
}
