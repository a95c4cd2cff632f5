import { describe, expect, test } from 'vitest'
import { SIGNATURE, Verifier, WINDOW_MS, digestOf, sign } from '../../../src/cluster/signature.ts'

const KEY = 'a secret that all hosts of one store have'
const NOW = 1_800_000_000_000

const request = {
  method: 'POST',
  path: '/sessions/ada/messages?partial=1',
  headers: { authorization: 'Bearer key', 'content-type': 'application/json' },
  body: digestOf(Buffer.from('{"prompt":"hello"}')),
  from: '3',
  to: '7',
  at: NOW,
}

interface Received {
  method: string
  path: string
  headers: Record<string, string>
}

/** The request as the other host receives it. */
const received = (signature = sign(KEY, request)): Received => ({
  method: request.method,
  path: request.path,
  // What Node adds on the way.
  headers: { ...request.headers, host: '10.0.0.7:7070', connection: 'keep-alive', [SIGNATURE]: signature },
})

const HERE = { id: '7', now: NOW }

describe('a signed request', () => {
  test('is taken once', () => {
    const verifier = new Verifier(KEY)
    const once = received()
    expect(verifier.refusal(once, HERE)).toBeUndefined()
    expect(verifier.refusal(once, HERE)).toBe('repeated')
    expect(verifier.refusal(received(), HERE)).toBeUndefined()
  })

  test.each<[string, (request: Received) => Received]>([
    ['method', (sent) => ({ ...sent, method: 'DELETE' })],
    ['path', (sent) => ({ ...sent, path: '/sessions/eve/messages?partial=1' })],
    ['query', (sent) => ({ ...sent, path: '/sessions/ada/messages?partial=0' })],
    ['credential', (sent) => ({ ...sent, headers: { ...sent.headers, authorization: 'Bearer other' } })],
    ['header that is added', (sent) => ({ ...sent, headers: { ...sent.headers, 'x-api-key': 'other' } })],
    ...['from', 'to', 'at', 'nonce', 'body', 'mac'].map((field): [string, (sent: Received) => Received] => [
      field,
      (sent) => ({
        ...sent,
        headers: {
          ...sent.headers,
          // Another digit in its place.
          [SIGNATURE]: (sent.headers[SIGNATURE] ?? '').replace(
            new RegExp(`(${field}=)(.)`),
            (_all, name: string, digit: string) => `${name}${digit === '1' ? '2' : '1'}`,
          ),
        },
      }),
    ]),
  ])('is refused with another %s', (_field, alter) => {
    expect(new Verifier(KEY).refusal(alter(received()), HERE)).toBe('forged')
  })

  test('of another secret, or without a signature, is refused', () => {
    const verifier = new Verifier('the secret of other hosts, which is different')
    expect(verifier.refusal(received(), HERE)).toBe('forged')
    expect(verifier.refusal(received(''), HERE)).toBe('unsigned')
    expect(verifier.refusal(received('v=1 from=3'), HERE)).toBe('unsigned')
  })

  test('for another host, or for what this host was before, is not for this one', () => {
    expect(new Verifier(KEY).refusal(received(), { ...HERE, id: '8' })).toBe('elsewhere')
  })

  test('is taken for ten seconds before and after the time that it names', () => {
    for (const ms of [-WINDOW_MS, WINDOW_MS])
      expect(new Verifier(KEY).refusal(received(), { ...HERE, now: NOW + ms })).toBeUndefined()
    for (const ms of [-WINDOW_MS - 1, WINDOW_MS + 1])
      expect(new Verifier(KEY).refusal(received(), { ...HERE, now: NOW + ms })).toBe('stale')
  })

  test('is not taken twice in all of that time', () => {
    const verifier = new Verifier(KEY)
    const early = received(sign(KEY, { ...request, at: NOW + WINDOW_MS }))
    expect(verifier.refusal(early, HERE)).toBeUndefined()
    for (let ms = 1_000; ms <= 2 * WINDOW_MS; ms += 1_000)
      expect(verifier.refusal(early, { ...HERE, now: NOW + ms })).toBe('repeated')
  })
})
