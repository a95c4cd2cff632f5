/** The simulated model in a process of its own, so that its work is not the host's. Ends when its parent does. */
import { startSimulator } from '../src/simulator/server.ts'

// Ctrl-C reaches the whole group; this process ends after those that talk to it.
process.on('SIGINT', () => undefined)
const simulator = await startSimulator({ recordLimit: 0 })
process.once('disconnect', () => void simulator.close())
process.on('message', () => process.send?.({ open: simulator.open }))
process.send?.({ url: simulator.url })
