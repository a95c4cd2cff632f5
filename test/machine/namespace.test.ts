import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { listWorkers } from '../../src/cli/ps/worker-list.ts'
import { findOrphans } from '../../src/process/reaper.ts'
import { ProcessTable } from '../../src/process/table.ts'
import { living } from '../faults/procfs.ts'
import { until } from '../fixtures/real-pool.ts'

const ENTER = ['--pid', '--fork', '--kill-child', '--mount-proc']

const marker = fileURLToPath(new URL('../../src/process/marker.ts', import.meta.url))

/** A host in a container, which has a worker. */
const host = `
  import { MARKER_VARIABLE, markerOf } from '${marker}'
  import { spawn } from 'node:child_process'
  spawn('sleep', ['311'], { env: { ...process.env, [MARKER_VARIABLE]: markerOf('contained') } })`

test('What a host in another pid namespace runs is no orphan, although its pid is nobody’s here', async ({ skip }) => {
  if (spawnSync('unshare', [...ENTER, 'true']).status !== 0) skip('needs root, for a pid namespace')
  const node = [process.execPath, '--no-warnings', '--input-type=module', '--eval', host]
  const container = spawn('unshare', [...ENTER, ...node], { stdio: 'inherit' })
  onTestFinished(() => void container.kill('SIGKILL'))
  const worker = await until(() => {
    const found = living().find(
      ({ command, environment }) => command === 'sleep 311' && environment.includes('contained'),
    )
    if (found === undefined) throw new Error('the worker is not there yet')
    return found
  })
  expect(findOrphans().map(({ pid }) => pid)).not.toContain(worker.pid)
  const listed = listWorkers(new ProcessTable().read(), []).find(({ id }) => id === 'contained')
  expect(listed).toMatchObject({ state: 'running', processes: [{ pid: worker.pid }] })
})
