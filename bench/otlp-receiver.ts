/** A receiver of spans over OTLP in a process of its own, for `observability.ts`. It takes everything and keeps nothing. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const server = createServer((request, response) => {
  request.resume().on('end', () => response.end())
}).listen(0, '127.0.0.1')
await once(server, 'listening')
process.once('disconnect', () => {
  server.close()
  server.closeAllConnections()
})
process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`)
