/*
 * The process that holds the credentials of a host's agents. It gets its orders on standard input, one line of JSON each, and says on
 * standard output what calls have used. When its input closes, its host is gone, and it goes, too. Run as: node proxy.js
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createInterface } from 'node:readline'
import { setDefaultHighWaterMark } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { systemClock } from '../clock.ts'
import { Book } from './book.ts'
import { EgressPorts } from './egress-ports.ts'
import { tokensOf } from './budget.ts'
import { Forwarder } from './forward.ts'
import { Grants } from './grants.ts'
import type { Grant } from './grants.ts'
import { costOf, priceOf } from './prices.ts'
import type { Counted, Price } from './prices.ts'
import { line } from './protocol.ts'
import type { News, Order } from './protocol.ts'
import { Remotes } from './remotes.ts'
import { refuse } from './reply.ts'
import { routeOf } from './routes.ts'
import type { Traffic } from '../egress/traffic.ts'
import { AccessTokens } from './signing/service-account.ts'

/** Calls of one worker at a time: of these its budget may be overdrawn. */
const MAX_RUNNING = 32

/** A worker that calls has its session by then, or none comes. */
const BIND_MS = 10_000

/** Of each of the four buffers that a stream passes through. Larger ones only wait for slow readers in this process. */
setDefaultHighWaterMark(false, 16 * 1024)

// What passes through is soon gone: a young generation that grew would keep its pages (125 MiB with 200 streams, not 165). As an
// argument of Node, a flag of V8 invalidates the code cache and costs 90 ms of CPU at the start.
setFlagsFromString('--semi-space-growth-factor=1')

const book = new Book(systemClock)
let forwarder: Forwarder | undefined
const grants = new Grants((request, response, grant) => void serve(request, response, grant))
let prices: Readonly<Record<string, Price>> = {}
let needsSession = false
let loopback: Promise<number> | undefined

const tellTraffic = ({ worker, charged }: Pick<Grant, 'worker' | 'charged'>, traffic: Traffic[]): void =>
  tell({ says: 'traffic', worker, charged, traffic })

const remotes = new Remotes(systemClock, tellTraffic)
const egress = new EgressPorts(systemClock, tellTraffic, (worker, ...asked) => remotes.serve(...asked, worker))

const tell = (news: News): void => void process.stdout.write(line(news))

async function serve(request: IncomingMessage, response: ServerResponse, grant: Grant | undefined): Promise<void> {
  response.on('error', () => undefined)
  request.on('error', () => undefined)
  if (grant === undefined && remotes.serve(request, response, request.url ?? '')) return
  if (grant === undefined || forwarder === undefined)
    return refuse(response, 401, 'this is not the token of a worker that runs')
  const route = routeOf(request.method ?? '', request.url ?? '', grant.base, grant.upstream)
  if (route === undefined)
    return refuse(response, 404, 'the credential proxy passes on messages, their counts and models, and nothing else')
  if (!route.counts)
    return forwarder.forward({ request, response, route, upstream: grant.upstream, charge: () => undefined })
  const isAgent = grant.charged.agent !== undefined
  if (isAgent && needsSession && grant.charged.session === undefined && !(await hasSession(grant)))
    return refuse(response, 503, 'this worker has no session')
  const refusal = book.refusal(grant.charged)
  if (refusal !== undefined) {
    tell({ says: 'refused', worker: grant.worker, charged: grant.charged, ...refusal })
    return refuse(response, 402, refusal.message)
  }
  if (grant.running >= MAX_RUNNING) return refuse(response, 429, `a worker may have ${MAX_RUNNING} calls at a time`)
  grant.running += 1
  const { charged, upstream } = grant
  const charge = (model: string | undefined, used: Counted): void => {
    const costUsd = costOf(used, priceOf(model ?? '', prices))
    book.charge(charged, tokensOf(used), costUsd)
    tell({ says: 'used', worker: grant.worker, charged, model, used, costUsd })
  }
  await forwarder.forward({ request, response, route, upstream, charge })
  grant.running -= 1
  tellIfOver(grant)
}

/** A worker that is gone is told of when nothing more can come of it. */
function tellIfOver({ worker, charged, gone, running }: Grant): void {
  if (gone && running === 0) tell({ says: 'revoked', worker, charged })
}

async function hasSession(grant: Grant): Promise<boolean> {
  const late = Promise.withResolvers<void>()
  const cancel = systemClock.after(BIND_MS, late.resolve)
  await Promise.race([grant.bound.promise, late.promise])
  cancel()
  return grant.charged.session !== undefined
}

async function begin(order: Extract<Order, { do: 'begin' }>): Promise<void> {
  remotes.begin(order.proxies)
  forwarder ??= new Forwarder(systemClock, new AccessTokens(), order.proxies)
  prices = order.prices
  needsSession = order.needsSession
  if (order.port !== undefined) loopback ??= grants.onLoopback(order.port)
  tell({ says: 'begun', port: await loopback })
}

async function grant({
  worker,
  socket,
  user,
  tokenHash,
  egress: wayOut,
  ...rest
}: Extract<Order, { do: 'grant' }>): Promise<void> {
  try {
    const added = await grants.add({ ...rest, worker, tokenHash: Buffer.from(tokenHash, 'hex') }, socket, user)
    if (wayOut !== undefined) await egress.open(added, wayOut)
    tell({ says: 'granted', worker })
  } catch (error) {
    grants.remove(worker)
    egress.close(worker)
    tell({ says: 'granted', worker, problem: (error as Error).message })
  }
}

function obey(order: Order): void {
  switch (order.do) {
    case 'begin':
      return void begin(order)
    case 'grant':
      return void grant(order)
    case 'remotes':
      return remotes.add(order)
    case 'bindRemotes':
      return remotes.bind(order.worker, order.session)
    case 'bind':
      return grants.bind(order.worker, order.session)
    case 'upstream': {
      const known = grants.get(order.worker)
      if (known !== undefined) known.upstream = order.upstream
      return
    }
    case 'revoke': {
      egress.close(order.worker)
      remotes.remove(order.worker)
      const gone = grants.remove(order.worker)
      if (gone !== undefined) tellIfOver(gone)
      return
    }
    case 'account':
      return book.set(order)
    case 'forget':
      return book.forget(order.account)
    default:
      return order satisfies never
  }
}

const leave = (): never => process.exit(0)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.stdout.on('error', leave)
createInterface({ input: process.stdin })
  .on('line', (text) => obey(JSON.parse(text) as Order))
  .on('close', leave)
