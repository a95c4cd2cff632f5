import { createHash, randomBytes } from 'node:crypto'

/** What an id begins with, by what it names. */
export const PREFIXES = {
  agent: 'agent_',
  environment: 'env_',
  session: 'sesn_',
  event: 'sevt_',
  file: 'file_',
  resource: 'sesrsc_',
  skill: 'skill_',
  skillVersion: 'skillver_',
  vault: 'vlt_',
  credential: 'vcrd_',
  webhookEvent: 'event_',
  webhookDelivery: 'whdl_',
  memoryStore: 'memstore_',
  memory: 'mem_',
  memoryVersion: 'memver_',
} as const

export type Named = keyof typeof PREFIXES

/** Digits and letters except look-alikes, as in the API's own ids. */
const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

const LENGTH = 24

/** An id that cannot be guessed: 24 characters, 140 bits. */
export const newId = (named: Named): string => idFrom(named, () => randomBytes(LENGTH))

/** The id of what these words name: the same one each time. */
export function idOf(named: Named, ...words: readonly string[]): string {
  let round = 0
  return idFrom(named, () =>
    createHash('sha512')
      .update(JSON.stringify([named, round++, ...words]))
      .digest(),
  )
}

function idFrom(named: Named, more: () => Iterable<number>): string {
  let id: string = PREFIXES[named]
  while (id.length < PREFIXES[named].length + LENGTH) {
    for (const byte of more()) {
      // Equally likely each: bytes beyond the last whole round of the alphabet are passed over.
      if (byte >= 256 - (256 % ALPHABET.length)) continue
      if (id.length < PREFIXES[named].length + LENGTH) id += ALPHABET[byte % ALPHABET.length]
    }
  }
  return id
}
