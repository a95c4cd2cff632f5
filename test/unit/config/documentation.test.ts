import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { readAgent } from '../../../src/agents/agent.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')
const examples = [...page.matchAll(/^```(yaml|ts|js)\n(.*?)^```$/gms)].map(([, kind = '', text = '']) => ({
  kind,
  text,
}))

test.each(examples)('The $kind example of the page on configuration is one', async ({ kind, text }) => {
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await writeFile(join(folder, `claude-agent-pool.config.${kind}`), text)
  const { file, options } = await loadConfig(undefined, folder)
  expect(file).toBe(`claude-agent-pool.config.${kind}`)
  const names = Object.entries(options.agents).map(([name, agent]) => readAgent(name, agent).name)
  expect(names).toContain('support')
})

test('There is an example of each kind', () => {
  expect(examples.map(({ kind }) => kind)).toEqual(['yaml', 'ts', 'js'])
})
