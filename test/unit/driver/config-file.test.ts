import { execFileSync } from 'node:child_process'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { restoreConfig, saysDamagedConfig } from '../../../src/driver/config-file.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

let files: TenantFiles
let configDir: string
let file: string

const backup = (time: number | string): string => join(configDir, 'backups', `.claude.json.backup.${time}`)

beforeEach(async () => {
  configDir = await temporaryFolder()
  files = new TenantFiles(dirname(configDir))
  file = join(configDir, '.claude.json')
  await mkdir(join(configDir, 'backups'))
  await writeFile(file, '{"numStartups":1,"pro')
})

test('the newest backup that can be read takes the place of a damaged configuration', async () => {
  await writeFile(backup(900), '{"numStartups":900}')
  await writeFile(backup(1_000), '{"numStartups":1000}')
  await writeFile(backup(2_000), '{"numSta')
  await writeFile(backup(3_000), '[1]')
  await writeFile(backup('late'), '{"numStartups":-1}')
  await restoreConfig(files, configDir)
  expect(await readFile(file, 'utf8')).toBe('{"numStartups":1000}')
})

test('without one it is removed, so that the CLI begins anew', async () => {
  await restoreConfig(files, configDir)
  await expect(readFile(file)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('one that can be read by now is left alone', async () => {
  await writeFile(file, '{"numStartups":2}')
  await writeFile(backup(1), '{"numStartups":1}')
  await restoreConfig(files, configDir)
  expect(await readFile(file, 'utf8')).toBe('{"numStartups":2}')
})

test.skipIf(process.platform === 'win32')('links and pipes among the backups are not followed', async () => {
  const secret = join(configDir, 'secret')
  await writeFile(secret, '{"secret":true}')
  await symlink(secret, backup(2))
  execFileSync('mkfifo', [backup(1)])
  await restoreConfig(files, configDir)
  await expect(readFile(file)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('what the CLI says of a damaged one is known from all else', () => {
  expect(saysDamagedConfig('stderr: Claude configuration file at /c/.claude.json is corrupted: JSON Parse error')).toBe(
    true,
  )
  expect(saysDamagedConfig('the transcript is corrupted')).toBe(false)
})
