import type { Questions } from '../../questions.ts'
import { toolResult } from '../../tool-result.ts'
import type { ClientCalls } from '../agent-options.ts'

/** What agents ask of their clients waits with all other questions. */
export const clientCalls = (questions: Questions): ClientCalls => ({
  confirm: questions.canUseTool,
  async execute({ toolUseId, name, input }, session, signal) {
    return toolResult(await questions.callTool(session, signal, { id: toolUseId, name, input }))
  },
})
