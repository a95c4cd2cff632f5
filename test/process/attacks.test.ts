import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { MODES, designTable } from '../attacks/design.ts'
import { attack, differences } from '../attacks/scene.ts'

const HAS = {
  none: process.platform === 'linux',
  user: process.platform === 'linux' && process.getuid?.() === 0,
  bubblewrap: existsSync('/usr/bin/bwrap'),
  list: existsSync('/usr/bin/bwrap') && existsSync('/usr/bin/socat'),
  'model alone': existsSync('/usr/bin/bwrap') && existsSync('/usr/bin/socat'),
}

describe('An agent that attacks all around it', () => {
  // The other modes are run by hand: `npm run test:attacks`.
  test.each((['list'] as const).filter((mode) => HAS[mode]))(
    'in mode "%s" comes as far as designed',
    { timeout: 600_000 },
    async (mode) => {
      expect(differences(MODES.indexOf(mode), await attack(mode))).toEqual([])
    },
  )
})

test('the documentation has the table of the attacks', async () => {
  const page = fileURLToPath(new URL('../../docs/isolation.md', import.meta.url))
  expect(await readFile(page, 'utf8')).toContain(designTable())
})
