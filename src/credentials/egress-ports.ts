import { rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../clock.ts'
import { EgressPort } from '../egress/egress-port.ts'
import type { EgressLists } from '../egress/rules.ts'
import { TrafficReport } from '../egress/traffic.ts'
import type { Traffic } from '../egress/traffic.ts'
import { listening } from './grants.ts'
import type { Grant } from './grants.ts'

interface Opened {
  port: EgressPort
  report: TrafficReport
}

/** Answers a request at a local address of a worker; false: it has none. */
type Own = (worker: string, request: IncomingMessage, response: ServerResponse, path: string) => boolean

/** The ways out of the workers that may go further than to the model, each on a socket of its own. */
export class EgressPorts {
  readonly #clock: Clock
  readonly #tell: (grant: Grant, traffic: Traffic[]) => void
  readonly #own: Own
  readonly #opened = new Map<string, Opened>()

  constructor(clock: Clock, tell: (grant: Grant, traffic: Traffic[]) => void, own: Own) {
    this.#clock = clock
    this.#tell = tell
    this.#own = own
  }

  /** Listens for a worker. Rejects with what the system says. */
  async open(grant: Grant, { socket, lists }: { socket: string; lists: EgressLists }): Promise<void> {
    this.close(grant.worker)
    const report = new TrafficReport(this.#clock, (traffic) => this.#tell(grant, traffic))
    const port = new EgressPort({
      lists,
      over: (place, connection) => report.add(place, connection),
      own: (...asked) => this.#own(grant.worker, ...asked),
    })
    this.#opened.set(grant.worker, { port, report })
    // That of a proxy that died.
    rmSync(socket, { force: true })
    await listening(port.server, () => port.server.listen(socket))
  }

  /** Ends a worker's connections, and tells what has come of them. */
  close(worker: string): void {
    const opened = this.#opened.get(worker)
    if (opened === undefined) return
    this.#opened.delete(worker)
    opened.port.close()
    opened.report.flush()
  }
}
