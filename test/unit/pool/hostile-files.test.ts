import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FakeClock, MemoryStore } from '../../../src/testing/index.ts'
import { FileDriver, transcriptOf, writeTranscript } from '../../fixtures/file-driver.ts'
import { ALL_DONE, everything } from '../../fixtures/file-work.ts'
import { fakes, outcome, used } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'
import { HOSTILE, hostileFolder, makeFifo, makeMany, makeSparse } from '../../fixtures/hostile-tree.ts'

/** A session that has a workspace and a transcript, and what an agent of its tenant can reach. */
interface Scene extends Fakes {
  dataDir: string
  store: MemoryStore
  /** Outside of all tenants. */
  outside: string
  tenantDir: string
  workspace: string
  transcript: string
}

async function scene(): Promise<Scene> {
  const top = hostileFolder()
  const dataDir = join(top, 'data')
  const outside = join(top, 'outside')
  mkdirSync(join(outside, 'inner'), { recursive: true })
  writeFileSync(join(outside, 'secret'), 'secret')
  writeFileSync(join(outside, 'inner', 'secret'), 'secret')
  const clock = new FakeClock()
  const driver = new FileDriver(clock, dataDir)
  const store = Object.assign(new MemoryStore(), { backup: async (path: string) => writeFileSync(path, '') })
  const retention = { maxSize: '900MiB' }
  const setup = await fakes({ dataDir, driver, clock, store, retention })
  const session = await used(setup, 'k')
  const { cwd = '', sdkSessionId: id = '' } = await session.info()
  const tenantDir = join(dataDir, 'tenants', 'default')
  const transcript = transcriptOf(tenantDir, { cwd, id })
  writeTranscript(transcript, id)
  writeFileSync(join(cwd, 'file'), 'content')
  return { ...setup, dataDir, store, outside, tenantDir, workspace: cwd, transcript }
}

/** All that is outside, with contents and rights. */
function stateOf(folder: string): unknown {
  return readdirSync(folder).map((name) => {
    const path = join(folder, name)
    const { mode, mtimeMs } = lstatSync(path)
    return [name, mode, mtimeMs, lstatSync(path).isFile() ? readFileSync(path, 'utf8') : stateOf(path)]
  })
}

/** By hand: `HOSTILE_FILES=100000`. */
const FILES = Number(process.env['HOSTILE_FILES'] ?? 300)

describe('whatever an agent leaves in its workspace, all work on its session goes on', () => {
  test.each(Object.entries(HOSTILE))('%s', { timeout: 60_000 }, async (kind, make) => {
    const setup = await scene()
    make(setup.workspace, setup.outside)
    const before = stateOf(setup.outside)
    expect(await everything(setup)).toEqual(ALL_DONE)
    expect(stateOf(setup.outside)).toEqual(before)
    expect(readdirSync(join(setup.dataDir, 'tenants'))).toEqual([])
    const leftOut = setup.told('warning').map(({ message }) => message)
    if (['fifo', 'socket', 'deep path'].includes(kind)) {
      for (const what of ['the export of session "k"', 'the fork of session "k"', 'the backup'])
        expect(leftOut.join('\n')).toContain(what)
    }
  })

  test(`${FILES} files`, { timeout: 3_600_000 }, async () => {
    const setup = await scene()
    makeMany(setup.workspace, FILES)
    expect(await everything(setup)).toEqual(ALL_DONE)
    expect(readdirSync(join(setup.dataDir, 'tenants'))).toEqual([])
  })
})

/** What an agent may put in the place of files that the host works with, and how a turn ends then. */
const REPLACED: Record<string, { replace: (scene: Scene) => void; codes: Partial<typeof ALL_DONE> }> = {
  'its transcript by a FIFO': {
    replace: ({ transcript }) => {
      rmSync(transcript)
      makeFifo(transcript)
    },
    codes: { fork: 'resume_failed, session_not_found', resume: 'resume_failed' },
  },
  'its transcript by a link': {
    replace: ({ transcript, outside }) => {
      rmSync(transcript)
      symlinkSync(join(outside, 'secret'), transcript)
    },
    codes: { fork: 'resume_failed, session_not_found', resume: 'resume_failed' },
  },
  'its transcript by a folder': {
    replace: ({ transcript }) => {
      rmSync(transcript)
      mkdirSync(transcript)
      writeFileSync(join(transcript, 'inner'), '')
    },
    codes: { fork: 'resume_failed, session_not_found', resume: 'resume_failed' },
  },
  'its transcript by a file of 1,000 MiB without a line': {
    replace: ({ transcript }) => {
      rmSync(transcript)
      makeSparse(transcript, 1_000 * 2 ** 20)
    },
    codes: { fork: 'resume_failed, session_not_found' },
  },
  'its transcript by lines that are none': {
    replace: ({ transcript }) =>
      writeFileSync(
        transcript,
        'null\n[]\n1\n{"type":"assistant","message":null}\n{"type":"assistant","message":{"usage":1}}\n{\n',
      ),
    codes: { fork: 'resume_failed, session_not_found' },
  },
  'the folder of its subagents by a link': {
    replace: ({ transcript, outside }) => symlinkSync(outside, transcript.slice(0, -'.jsonl'.length)),
    codes: {},
  },
  'the folder of its project by a link': {
    replace: ({ transcript, outside }) => {
      rmSync(dirname(transcript), { recursive: true })
      symlinkSync(outside, dirname(transcript))
    },
    codes: {
      fork: 'resume_failed, session_not_found',
      resume: 'resume_failed',
    },
  },
  'the folder of all projects by a link': {
    replace: ({ transcript, outside }) => {
      rmSync(dirname(dirname(transcript)), { recursive: true })
      symlinkSync(outside, dirname(dirname(transcript)))
    },
    codes: {
      fork: 'resume_failed, session_not_found',
      resume: 'resume_failed',
      import: 'files_failed, done',
    },
  },
  'its workspace by a link': {
    replace: ({ workspace, outside }) => {
      rmSync(workspace, { recursive: true })
      symlinkSync(outside, workspace)
    },
    codes: { fork: 'files_failed, session_not_found', resume: 'files_failed' },
  },
  'the tenant’s folders by links': {
    replace: ({ tenantDir, outside }) => {
      for (const name of ['home', 'config', 'tmp', 'workspaces', 'earlier']) {
        renameSync(join(tenantDir, name), join(tenantDir, `${name}-before`))
        symlinkSync(outside, join(tenantDir, name))
      }
    },
    codes: {
      fork: 'files_failed, session_not_found',
      resume: 'files_failed',
      import: 'files_failed, done',
    },
  },
  'the tenant’s folder by a link': {
    replace: ({ tenantDir, outside }) => {
      rmSync(tenantDir, { recursive: true })
      symlinkSync(outside, tenantDir)
    },
    codes: {
      fork: 'files_failed, session_not_found',
      resume: 'files_failed',
      import: 'files_failed, done',
    },
  },
}

describe('whatever an agent replaces, nothing outside is touched, and what fails says so by its code', () => {
  test.each(Object.entries(REPLACED))('%s', { timeout: 60_000 }, async (_what, { replace, codes }) => {
    const setup = await scene()
    replace(setup)
    const before = stateOf(setup.outside)
    expect(await everything(setup)).toEqual({ ...ALL_DONE, ...codes })
    expect(stateOf(setup.outside)).toEqual(before)
    expect(readdirSync(join(setup.dataDir, 'tenants'))).toEqual([])
    expect(await setup.pool.sessions()).toEqual([])
  })

  test('other tenants go on while FIFOs stand in the place of more transcripts than there are threads', async () => {
    const setup = await scene()
    const { pool, dataDir } = setup
    const sessions = await Promise.all(
      Array.from({ length: 8 }, (_, index) => used(setup, `fifo-${index}`, { tenant: 'hostile' })),
    )
    for (const session of sessions) {
      const { cwd = '', sdkSessionId: id = '' } = await session.info()
      const path = transcriptOf(join(dataDir, 'tenants', 'hostile'), { cwd, id })
      mkdirSync(dirname(path), { recursive: true })
      makeFifo(path)
    }
    const outcomes = sessions.map((session) => outcome(session.send('Again')))
    const other = await used(setup, 'other', { tenant: 'other' })
    expect(await outcome(other.send('Again'))).toBe('success')
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(['resume_failed']))
    await pool.eraseTenant('hostile')
  })

  test('the names of conversations that an agent notes for its session lead nowhere else', async () => {
    const setup = await scene()
    const { pool, tenantDir, workspace, transcript } = setup
    const other = await used(setup, 'other')
    const { cwd = '', sdkSessionId: id = '' } = await other.info()
    writeTranscript(transcriptOf(tenantDir, { cwd, id }), id)
    const record = await pool.session('k')
    const notes = ['../../../../outside/secret', `../${basename(cwd)}/${id}`, '..', ''].join('\n')
    const { uid = '' } = (await setup.store.get('default', 'k')) ?? {}
    writeFileSync(join(tenantDir, 'earlier', uid), notes)
    const before = stateOf(setup.outside)
    await record.delete()
    expect(stateOf(setup.outside)).toEqual(before)
    expect(lstatSync(transcriptOf(tenantDir, { cwd, id })).isFile()).toBe(true)
    for (const path of [workspace, transcript]) expect(lstatSync(path, { throwIfNoEntry: false })).toBeUndefined()
  })
})
