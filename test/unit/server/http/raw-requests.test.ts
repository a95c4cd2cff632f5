import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createServer } from '../../../../src/server/app.ts'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { listen } from '../../../../src/server/listen.ts'
import { fakes } from '../../../fixtures/fakes.ts'

const KEY = 'key-of-acme-0123456789abcdef'

const INNER = `GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: ${KEY}\r\nConnection: close\r\n\r\n`
const HEAD = 'POST /v1/agents HTTP/1.1\r\nHost: localhost\r\n'

/** What the server says to these bytes until it closes the connection, or has nothing more to say to a whole request. */
async function said(bytes: string): Promise<string> {
  const { pool, clock } = await fakes()
  const server = createServer(pool, { clock, keys: [{ tenant: 'acme', sha256: hashKey(KEY) }] })
  const listening = await listen(server, { port: 0 })
  onTestFinished(() => listening.drain(AbortSignal.abort()))
  const socket = connect(listening.port, '127.0.0.1')
  socket.on('error', () => undefined)
  let text = ''
  socket.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  await once(socket, 'connect')
  socket.end(bytes)
  if (!socket.closed) await once(socket, 'close')
  return text
}

test('a whole request is answered', async () => {
  expect(await said(INNER)).toMatch(/^HTTP\/1\.1 200 /)
})

test.each([
  ['two lengths of a body', `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${INNER}`],
  ['two different lengths', `${HEAD}Content-Length: 5\r\nContent-Length: 500\r\n\r\n{}   ${INNER}`],
  ['a coding that is not the last', `${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${INNER}`],
  ['a space before the colon', `${HEAD}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${INNER}`],
  ['a chunk without end', `${HEAD}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n${INNER}`],
  ['a line that ends too soon', INNER.replace('\r\nX-Api-Key', '\nX-Api-Key')],
  ['a negative length', `${HEAD}Content-Length: -1\r\n\r\n${INNER}`],
])('%s smuggles no request past the key', async (_what, bytes) => {
  expect(await said(bytes)).not.toMatch(/HTTP\/1\.1 200 /)
})
