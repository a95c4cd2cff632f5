import type { Tool } from '@ag-ui/core'
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { CallToolRequest, CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import { systemClock } from '../../clock.ts'
import type { Clock } from '../../clock.ts'
import type { AgentOptions, SessionRef, WorkerContext } from '../../index.ts'
import { ApiError } from '../errors.ts'
import { inProcessServer, loadToolServer } from '../in-process-server.ts'
import type { Answer, Questions } from '../questions.ts'
import { toolResult } from '../tool-result.ts'
import type { TurnFeed } from '../turn-feed.ts'

/** The MCP server, in the host, of the tools that front ends bring along. */
const CLIENT_TOOLS = 'client_tools'

const SERVER = `mcp__${CLIENT_TOOLS}`

const PREFIX = `${SERVER}__`

/** A process that does not ask for its new tools by then goes without them. */
const LISTED_MS = 10_000

export const isClientTool = (name: string): boolean => name.startsWith(PREFIX)

/** What a front end calls a tool that the CLI calls so: its own tools have the names that it gave them. */
export const clientToolName = (name: string): string => (isClientTool(name) ? name.slice(PREFIX.length) : name)

/** Called for a call that no front end has answered, with the answer that the agent got instead. */
type Unanswered = (session: SessionRef, toolCallId: string, answer: Answer) => void

/** What one turn has of its front end. */
interface Brought {
  readonly tools: readonly Tool[]
  /** Aborted when the turn has ended: no caller waits for a result any more. */
  readonly ended: AbortSignal
  readonly unanswered: Unanswered
}

const NOTHING: Brought = { tools: [], ended: new AbortController().signal, unanswered: () => undefined }

/** The tools of front ends: they bring them along with a run, the agent calls them, and the front end executes them. */
export class ClientTools {
  readonly #questions: Questions
  readonly #clock: Clock
  /** By the id of the turn. */
  readonly #brought = new Map<string, Brought>()

  constructor(questions: Questions, clock: Clock = systemClock) {
    this.#questions = questions
    this.#clock = clock
  }

  /** For an agent's options: its processes have the tools of whatever front end they work for. */
  readonly servers: NonNullable<AgentOptions['inProcessServers']> = (context) => {
    const processTools = new ProcessTools({
      context,
      questions: this.#questions,
      clock: this.#clock,
      brought: this.#brought,
    })
    return { [CLIENT_TOOLS]: inProcessServer(CLIENT_TOOLS, () => processTools.load()) }
  }

  /** The same agent, with the tools of front ends, unless its `disallowedTools` name `mcp__client_tools`. */
  for(agent: AgentOptions): AgentOptions {
    const { allowedTools = [], disallowedTools = [], inProcessServers } = agent
    if (disallowedTools.includes(SERVER) || inProcessServers !== undefined) return agent
    return { ...agent, inProcessServers: this.servers, allowedTools: [...allowedTools, SERVER] }
  }

  /** True for an agent that `for()` has made. */
  serves({ inProcessServers }: AgentOptions): boolean {
    return inProcessServers === this.servers
  }

  /** The turn may use these tools until it ends. */
  give({ turn: { id }, ended }: TurnFeed, tools: readonly Tool[], unanswered: Unanswered): void {
    const over = new AbortController()
    this.#brought.set(id, { tools, ended: over.signal, unanswered })
    void ended.then(() => {
      this.#brought.delete(id)
      over.abort()
    })
  }
}

interface ProcessToolsParts {
  context: WorkerContext
  questions: Questions
  clock: Clock
  /** By the id of the turn. */
  brought: ReadonlyMap<string, Brought>
}

/** The tools of one process: its turn brought them. */
class ProcessTools {
  readonly #parts: ProcessToolsParts
  #server: McpServer | undefined
  #brought: Brought = NOTHING
  #listed: (() => void) | undefined

  constructor(parts: ProcessToolsParts) {
    this.#parts = parts
    parts.context.beforeTurn(({ id }) => this.#change(parts.brought.get(id) ?? NOTHING))
  }

  async load(): Promise<(near: Transport) => Promise<void>> {
    const { McpServer: Server, ListToolsRequestSchema, CallToolRequestSchema } = await loadToolServer()
    const mcp = new Server({ name: CLIENT_TOOLS, version: '1' }, { capabilities: { tools: { listChanged: true } } })
    mcp.server.setRequestHandler(ListToolsRequestSchema, () => {
      this.#listed?.()
      return { tools: this.#brought.tools.map(toMcp) }
    })
    mcp.server.setRequestHandler(CallToolRequestSchema, ({ params }, { signal }) => this.#call(params, signal))
    this.#server = mcp
    return async (near) => {
      await mcp.connect(near)
      // A turn may have brought its tools during the load.
      this.#tellOfTools()
    }
  }

  /** The process asks for its tools before the prompt that may need them comes to it. */
  async #change(brought: Brought): Promise<void> {
    const isSame = JSON.stringify(brought.tools) === JSON.stringify(this.#brought.tools)
    this.#brought = brought
    if (isSame) return
    const listed = Promise.withResolvers<void>()
    this.#listed = listed.resolve
    const cancel = this.#parts.clock.after(LISTED_MS, listed.resolve)
    this.#tellOfTools()
    await listed.promise
    cancel()
    this.#listed = undefined
  }

  #tellOfTools(): void {
    // A process that has gone asks for nothing: its turn ends by that.
    if (this.#listed !== undefined && this.#server?.isConnected() === true)
      this.#server.server.sendToolListChanged().catch(this.#listed)
  }

  async #call(
    { name, arguments: input = {}, _meta: meta }: CallToolRequest['params'],
    signal: AbortSignal,
  ): Promise<CallToolResult> {
    const toolUseId = meta?.['claudecode/toolUseId']
    if (typeof toolUseId !== 'string') throw new Error('the call has no id that its result could be given to')
    const { context, questions } = this.#parts
    const { session } = context
    const { ended, unanswered } = this.#brought
    const tool = { id: toolUseId, name: `${PREFIX}${name}`, input }
    const withdrawn = AbortSignal.any([signal, ended])
    const answer = await context.awaitClient({ toolUseId, name, input }, () =>
      questions.callTool(session, withdrawn, tool),
    )
    // A client's answer has content, also where its tool has failed.
    if (session !== undefined && answer.content === undefined) unanswered(session, toolUseId, answer)
    return toolResult(answer)
  }
}

const NO_PARAMETERS = { type: 'object' as const, properties: {} }

interface McpTool {
  name: string
  description: string
  inputSchema: typeof NO_PARAMETERS
}

const toMcp = ({ name, description, parameters }: Tool): McpTool => ({
  name,
  description,
  inputSchema: { ...NO_PARAMETERS, ...(parameters as object | undefined) },
})

const MOST_TOOLS = 100

/** Characters of JSON. */
const LARGEST_TOOLS = 256 * 1024

/** Throws ApiError (invalid_request_error) for tools that no agent can be given. */
export function checkTools(tools: readonly Tool[]): void {
  const refuse = (problem: string): never => {
    throw new ApiError('invalid_request_error', `tools${problem}`)
  }
  if (tools.length > MOST_TOOLS) refuse(`: are ${tools.length}; at most ${MOST_TOOLS} are taken`)
  if (JSON.stringify(tools).length > LARGEST_TOOLS) refuse(`: have more than ${LARGEST_TOOLS / 1024} KiB`)
  const names = new Set<string>()
  for (const [index, { name, parameters }] of tools.entries()) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name))
      refuse(`.${index}.name: "${name.slice(0, 80)}" is not 1 to 64 of letters, digits, "_", "-"`)
    if (names.has(name)) refuse(`.${index}.name: "${name}" is there twice`)
    names.add(name)
    const { type = 'object' } = (parameters ?? {}) as { type?: unknown }
    if (typeof (parameters ?? {}) !== 'object' || Array.isArray(parameters) || type !== 'object')
      refuse(`.${index}.parameters: is not a JSON Schema of an object`)
  }
}
