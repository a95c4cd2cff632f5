import { asked, added, ended, interrupted } from './method-stories.ts'
import type { Control, OwnMethod } from './method-stories.ts'
import type { Wanted } from './option-cases.ts'
import { captured } from './session-stories.ts'
import { seen } from './story.ts'
import type { Seen } from './story.ts'

export type MethodCase = Seen & Wanted

/** A method that a process answers, by what it answers before the first message. */
const answer = (name: Control): Seen => seen(asked, name, 'turn')

/** Every method of the SDK's query. A new one does not compile until it is said here how the two compare. */
export const METHOD_CASES: Record<Control | OwnMethod | 'asyncDispose' | 'asyncIterator', MethodCase> = {
  accountInfo: answer('accountInfo'),
  applyFlagSettings: answer('applyFlagSettings'),
  asyncDispose: seen(ended, 'disposed'),
  asyncIterator: seen(captured, 'iterated'),
  backgroundTasks: answer('backgroundTasks'),
  close: seen(ended, 'closed', 'late'),
  getContextUsage: answer('getContextUsage'),
  initializationResult: answer('initializationResult'),
  interrupt: seen(interrupted, 'receipt'),
  mcpServerStatus: answer('mcpServerStatus'),
  next: seen(captured, 'next'),
  readFile: answer('readFile'),
  readMcpResource: answer('readMcpResource'),
  reconnectMcpServer: answer('reconnectMcpServer'),
  reinitialize: answer('reinitialize'),
  reloadOutputStyles: answer('reloadOutputStyles'),
  reloadPlugins: answer('reloadPlugins'),
  reloadSkills: answer('reloadSkills'),
  return: seen(ended, 'returned'),
  rewindFiles: answer('rewindFiles'),
  seedReadState: answer('seedReadState'),
  setMaxThinkingTokens: answer('setMaxThinkingTokens'),
  setMcpPermissionModeOverride: answer('setMcpPermissionModeOverride'),
  setMcpServers: answer('setMcpServers'),
  setModel: answer('setModel'),
  setPermissionMode: answer('setPermissionMode'),
  stopTask: answer('stopTask'),
  streamInput: seen(added, 'results'),
  supportedAgents: answer('supportedAgents'),
  supportedCommands: answer('supportedCommands'),
  supportedModels: answer('supportedModels'),
  throw: seen(ended, 'thrown'),
  toggleMcpServer: answer('toggleMcpServer'),
  updateSettings: answer('updateSettings'),
  usage_EXPERIMENTAL_MAY_CHANGE_DO_NOT_RELY_ON_THIS_API_YET: answer(
    'usage_EXPERIMENTAL_MAY_CHANGE_DO_NOT_RELY_ON_THIS_API_YET',
  ),
}
