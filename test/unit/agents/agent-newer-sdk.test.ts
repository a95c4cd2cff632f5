import { expect, test, vi } from 'vitest'
import { readAgent } from '../../../src/agents/agent.ts'
import { loose, problemOf } from '../../fixtures/config-problem.ts'

const NEW = ['modelOfTomorrow', 'PreTeleport', 'comandLine', 'ToolOfTomorrow']

vi.mock('../../../src/options/sdk-types.ts', () => ({
  propertiesOf: () => [],
  sdkDeclares: (_type: string, name: string) => NEW.includes(name),
  sdkDeclaresTool: (name: string) => NEW.includes(name),
  sdkIsNewer: () => true,
}))

const problem = (options: object): string => problemOf(() => readAgent('a', loose(options))).replace(/^agents\.a\./, '')
const hook = async (): Promise<object> => ({})

test.each<object>([
  { modelOfTomorrow: true },
  { hooks: { PreTeleport: [{ hooks: [hook] }] } },
  { mcpServers: { x: { command: 'x', comandLine: 'y' } } },
  { tools: ['ToolOfTomorrow'] },
  { disallowedTools: ['Teleport'] },
])('What only a newer SDK knows passes: %j', (options) => {
  expect(problem(options)).toBe('none')
})

test.each<[object, string]>([
  [{ modle: 'x' }, 'modle: is not an option of an agent; did you mean model?'],
  [{ hooks: { PreTolUse: [] } }, 'hooks.PreTolUse: is not a hook; did you mean PreToolUse?'],
  [{ mcpServers: { x: { comand: 'x' } } }, 'mcpServers.x.comand: is not an option; did you mean command?'],
  [{ disallowedTools: ['Bsah'] }, 'disallowedTools.0: there is no tool "Bsah"; did you mean Bash?'],
])('What not even a newer SDK declares is refused: %j', (options, expected) => {
  expect(problem(options)).toBe(expected)
})
