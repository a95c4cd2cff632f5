import { once } from 'node:events'
import { createServer as createSocket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { listenProblem } from '../../../src/listen-problem.ts'
import { createServer } from '../../../src/server/app.ts'
import { listen } from '../../../src/server/listen.ts'
import type { Listening } from '../../../src/server/listen.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { fakes } from '../../fixtures/fakes.ts'

const TWO_SPARES = { assistant: { spares: { min: 2 }, unboundSpares: { max: 0 } } }

/** A server whose pool keeps two spares, each as `onStart` says. */
async function listening(onStart: (process: FakeProcess) => void): Promise<Listening & { ready: Promise<void> }> {
  const { pool, driver } = await fakes({ agents: TWO_SPARES })
  driver.onStart = onStart
  const server = createServer(pool)
  const made = await listen(server, { port: 0 })
  onTestFinished(async () => {
    for (const process of driver.processes) process.leavesAtOnce = true
    await made.drain()
  })
  return made
}

const readiness = async ({ url }: Listening): Promise<[number, unknown]> => {
  const response = await fetch(`${url}/readyz`)
  return [response.status, await response.json()]
}

describe('A server that listens is ready', () => {
  test('as soon as the spares that are always kept can be used, though they still prepare themselves', async () => {
    const made = await listening((process) => {
      process.prepare = () => new Promise(() => undefined)
    })
    await made.ready
    expect(await readiness(made)).toEqual([200, { status: 'ready' }])
  })

  test('not before each of them can be used', async () => {
    const starting: FakeProcess[] = []
    const both = Promise.withResolvers<void>()
    const made = await listening((process) => {
      process.readyAtOnce = false
      if (starting.push(process) === 2) both.resolve()
    })
    await both.promise
    expect(await readiness(made)).toEqual([503, { status: 'not ready', reason: 'starting' }])
    starting[0]?.becomeReady()
    expect(await readiness(made)).toEqual([503, { status: 'not ready', reason: 'starting' }])
    starting[1]?.becomeReady()
    await made.ready
    expect(await readiness(made)).toEqual([200, { status: 'ready' }])
  })

  test('also when they cannot start: turns say why', async () => {
    const made = await listening((process) => process.failToStart())
    await made.ready
    expect(await readiness(made)).toEqual([200, { status: 'ready' }])
  })
})

describe('A server that cannot listen says why in a sentence', () => {
  test('when its port is in use', async () => {
    const other = createSocket().listen(0, '127.0.0.1')
    await once(other, 'listening')
    onTestFinished(() => void other.close())
    const { port } = other.address() as AddressInfo
    const { pool } = await fakes()
    const server = createServer(pool)
    onTestFinished(() => server.close())
    const failure = listen(server, { port })
    await expect(failure).rejects.toThrow(ConfigError)
    await expect(failure).rejects.toThrow(
      `server.port: ${port} is in use on 127.0.0.1 by another program; end that, choose another port, or 0 for any free one`,
    )
  })

  test.each([
    ['EACCES', 'server.port: 80 is not open to this user; choose a port above 1023'],
    ['EADDRNOTAVAIL', 'server.host: somewhere is no address of this machine'],
    ['ENOTFOUND', 'server.host: the name somewhere has no address'],
    ['EAI_AGAIN', 'server.host: the name somewhere has no address'],
    ['EMFILE', 'server.port: cannot listen on somewhere:80: too many open files'],
  ])('when the system says %s', (code, words) => {
    const cause = Object.assign(new Error('too many open files'), { code })
    expect(listenProblem('server.', 'somewhere', 80, cause).message).toContain(words)
  })
})
