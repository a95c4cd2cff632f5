import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { DiskSync } from '../../../src/store/disk-sync.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

async function newFile(): Promise<string> {
  const folder = await temporaryFolder()
  const path = join(folder, 'log')
  await writeFile(path, 'written')
  return path
}

/** Trips that end when the test says so. */
function trips(path: string): { sync: DiskSync; begun: number; end: (error?: Error) => Promise<void> } {
  const ends: ((error?: Error) => void)[] = []
  const told = {
    begun: 0,
    sync: new DiskSync(path, () => {
      told.begun += 1
      return new Promise((resolve, reject) => ends.push((error) => (error === undefined ? resolve() : reject(error))))
    }),
    async end(error?: Error): Promise<void> {
      ends.shift()?.(error)
      await round()
    },
  }
  onTestFinished(async () => {
    const closed = told.sync.close()
    while (ends.length > 0) await told.end()
    await closed
  })
  return told
}

const round = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

function watch(promise: Promise<void>): { state: string } {
  const watched = { state: 'waits' }
  promise.then(
    () => (watched.state = 'done'),
    (error: Error) => (watched.state = error.message),
  )
  return watched
}

test('what was written goes to the disk though nobody waits for it, all of it in one trip', async () => {
  const begun = Promise.withResolvers<void>()
  let trips = 0
  const sync = new DiskSync(await newFile(), async () => {
    trips += 1
    begun.resolve()
  })
  sync.written()
  sync.written()
  await begun.promise
  await sync.flush()
  expect(trips).toBe(1)
  await sync.close()
})

test('nothing goes to the disk any more once it is closed', async () => {
  const told = trips(await newFile())
  told.sync.written()
  await told.sync.close()
  await told.sync.flush()
  expect(told.begun).toBe(0)
})

test('a flush waits for a trip that began after all it is to bring', async () => {
  const told = trips(await newFile())
  told.sync.written()
  const first = watch(told.sync.flush())
  await round()
  told.sync.written()
  const second = watch(told.sync.flush())
  await round()
  expect(told.begun).toBe(1)
  await told.end()
  expect([first.state, second.state, told.begun]).toEqual(['done', 'waits', 2])
  await told.end()
  expect(second.state).toBe('done')
})

test('a flush of nothing new is done at once', async () => {
  const told = trips(await newFile())
  await told.sync.flush()
  expect(told.begun).toBe(0)
})

test('a trip that fails is told to whoever waits, and to whoever asks next', async () => {
  const told = trips(await newFile())
  told.sync.written()
  const waiting = watch(told.sync.flush())
  await round()
  await told.end(new Error('the disk is gone'))
  expect(waiting.state).toBe('the disk is gone')
  await expect(told.sync.flush()).rejects.toThrow('the disk is gone')
  told.sync.written()
  const later = watch(told.sync.flush())
  await round()
  await told.end()
  expect(later.state).toBe('done')
})

test('it closes when the trips under way have ended, and the real disk takes part', async () => {
  const sync = new DiskSync(await newFile())
  sync.written()
  await sync.flush()
  sync.written()
  await sync.close()
})

test('a file that is not there is told like any other failure', async () => {
  const sync = new DiskSync('/nonexistent/log')
  sync.written()
  await expect(sync.flush()).rejects.toMatchObject({ code: 'ENOENT' })
  await sync.close()
})
