import { expect, test } from 'vitest'
import { checkExposure, checkPlacement } from '../../../../src/cli/doctor/credentials.ts'
import { exposuresOf } from '../../../../src/credentials/exposure.ts'

const HELD = { of: 'the pool', kind: 'taken', says: 'ANTHROPIC_API_KEY' } as const
const KEPT = { of: 'agent b', kind: 'kept', says: 'Bedrock has a profile' } as const

test.each([
  ['proxy', [], 'ok', 'no agent gets one'],
  ['proxy', [{ of: 'the pool', kind: 'none', says: '' }], 'ok', 'no agent gets one'],
  ['proxy', [HELD], 'ok', 'with the credential proxy: the pool: ANTHROPIC_API_KEY'],
  ['proxy', [HELD, KEPT], 'warning', 'in the environment of agents: agent b: Bedrock has a profile'],
  ['environment', [HELD], 'warning', 'in the environment of agents, as isolation.credentials says'],
] as const)('doctor says where the key goes: mode %s, %j', (mode, placements, verdict, says) => {
  const finding = checkPlacement(mode, placements)
  expect([finding.verdict, finding.advice === undefined]).toEqual([verdict, verdict === 'ok'])
  expect(finding.says).toContain(says)
})

test('doctor names the processes that show the key, and not itself', () => {
  const exposures = [
    { pid: 1, command: 'doctor', in: 'environ' },
    { pid: 7, command: 'bash', in: 'environ' },
  ] as const
  const found = checkExposure({ ownPid: 1, exposures, memoryIsOpen: false })
  expect(found).toMatchObject({
    verdict: 'warning',
    says: expect.stringContaining('bash (/proc/7/environ) show') as string,
  })
  expect(checkExposure({ ownPid: 1, exposures: exposures.slice(0, 1), memoryIsOpen: false }).says).toBe(
    'no process shows it',
  )
  expect(checkExposure({ ownPid: 1, exposures: [], memoryIsOpen: true }).says).toContain('ptrace_scope')
})

test.runIf(process.platform === 'linux')(
  'a secret in the environment of a process is found, and another text is not',
  () => {
    const path = process.env['PATH'] ?? ''
    expect(exposuresOf([path]).map(({ pid }) => pid)).toContain(process.pid)
    expect(exposuresOf([`${path}-${'x'.repeat(20)}`])).toEqual([])
    expect(exposuresOf([])).toEqual([])
  },
)
