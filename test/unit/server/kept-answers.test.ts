import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { SqliteAnswers } from '../../../src/server/kept-answers.ts'
import { keptAnswers } from '../../conformance/kept-answers.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

describe('In SQLite', () => {
  keptAnswers(() => {
    const answers = new SqliteAnswers(':memory:')
    onTestFinished(() => answers.close())
    return answers
  })
})

test('Answers in a file outlive their host', async () => {
  const path = join(await temporaryFolder(), 'api.sqlite')
  const request = { tenant: 't', method: 'POST', path: '/v1/agents', key: 'k', bodyHash: 'hash', at: 1 }
  const first = new SqliteAnswers(path)
  await first.begin(request, { since: 0, max: 10 })
  await first.finish(request, { status: 200, contentType: 'text/plain', body: 'done' }, undefined)
  first.close()
  const second = new SqliteAnswers(path)
  onTestFinished(() => second.close())
  expect((await second.begin(request, { since: 0, max: 10 }))?.answer?.body).toBe('done')
})
