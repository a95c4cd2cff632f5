import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { ShownEvent } from '../../../src/server/page/wire.ts'
import { timeOfDay } from '../format.ts'
import { events, loadEarlier, saying } from '../state.ts'
import { tell } from './dialog.tsx'

/** What an event may carry; each kind has some of it. */
interface AnyEvent {
  type: string
  id?: string
  processed_at?: string | null
  content?: { type: string; text?: string }[]
  name?: string
  mcp_server_name?: string
  input?: unknown
  is_error?: boolean | null
  result?: string
  deny_message?: string | null
  stop_reason?: { type: string }
  error?: { type: string; message: string }
  model_usage?: { input_tokens: number; output_tokens: number; cache_read_input_tokens: number }
}

/** Closer to the end than this, the list follows what is added. */
const NEAR_END_PX = 80

/** What is said in the session, as it comes. */
export function Events({ tenant, name }: { tenant: string; name: string }) {
  const list = useRef<HTMLDivElement>(null)
  const follows = useRef(true)
  const [isWhole, setWhole] = useState(false)
  const [shows, setShows] = useState<'talk' | 'all'>('talk')
  const shown = events.value.filter(({ event }) => shows === 'all' || !DETAILS.has(event.type))
  const text = saying.value?.text ?? ''
  useEffect(() => {
    const { current } = list
    if (current !== null && follows.current) current.scrollTop = current.scrollHeight
  }, [events.value, text])
  const first = events.value[0]?.number ?? 1
  const earlier = async (): Promise<void> => {
    try {
      if ((await loadEarlier(tenant, name)) === 0) setWhole(true)
    } catch (error) {
      tell((error as Error).message, true)
    }
  }
  return (
    <>
      <div class="tools">
        <h2>Events</h2>
        <label class="check">
          <input
            type="checkbox"
            checked={shows === 'all'}
            onChange={({ currentTarget }) => setShows(currentTarget.checked ? 'all' : 'talk')}
          />{' '}
          with model requests and states
        </label>
      </div>
      <div
        ref={list}
        class="events"
        role="log"
        aria-label="Events of the session"
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) =>
          (follows.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX)
        }
      >
        {first > 1 && !isWhole && (
          <button type="button" class="small" onClick={() => void earlier()}>
            Earlier events
          </button>
        )}
        {shown.map((entry) => (
          <Event key={entry.number} {...entry} />
        ))}
        {text !== '' && (
          <article class="event agent">
            <p class="who">agent, speaking</p>
            <p class="text">{text}</p>
          </article>
        )}
        {shown.length === 0 && text === '' && <p class="quiet empty">Nothing was said yet.</p>}
      </div>
    </>
  )
}

/** Shown on demand: they say when, not what. */
const DETAILS = new Set([
  'span.model_request_start',
  'span.model_request_end',
  'session.status_running',
  'session.status_idle',
  'session.usage',
  'agent.thinking',
])

function Event({ event: given }: ShownEvent) {
  const event = given as AnyEvent
  const { type, processed_at: at } = event
  const time = at === null || at === undefined ? undefined : timeOfDay(Date.parse(at))
  const { who, kind, body } = shapeOf(event)
  return (
    <article class={`event ${kind}`}>
      <p class="who">
        {who} <span class="quiet">{time ?? (type === 'user.message' ? 'waits' : '')}</span>
      </p>
      {body}
    </article>
  )
}

interface Shape {
  who: string
  kind: 'user' | 'agent' | 'tool' | 'bad' | 'state'
  body?: ComponentChildren
}

function shapeOf(event: AnyEvent): Shape {
  const { type, name = '', mcp_server_name: server } = event
  switch (type) {
    case 'user.message':
      return { who: 'user', kind: 'user', body: <p class="text">{textOf(event)}</p> }
    case 'agent.message':
      return { who: 'agent', kind: 'agent', body: <p class="text">{textOf(event)}</p> }
    case 'agent.tool_use':
    case 'agent.mcp_tool_use':
    case 'agent.custom_tool_use':
      return {
        who: `calls ${server === undefined ? name : `${server}: ${name}`}`,
        kind: 'tool',
        body: <Folded text={JSON.stringify(event.input, null, 2)} line={JSON.stringify(event.input)} />,
      }
    case 'agent.tool_result':
    case 'agent.mcp_tool_result':
      return {
        who: event.is_error === true ? 'result: an error' : 'result',
        kind: event.is_error === true ? 'bad' : 'tool',
        body: <Folded text={textOf(event)} />,
      }
    case 'user.tool_confirmation':
      return { who: `${event.result === 'allow' ? 'allowed' : 'denied'}`, kind: 'state', body: event.deny_message }
    case 'session.error':
      return { who: event.error?.type ?? type, kind: 'bad', body: <p class="text">{event.error?.message}</p> }
    case 'session.status_idle':
      return { who: `idle: ${event.stop_reason?.type ?? ''}`, kind: 'state' }
    case 'span.model_request_end': {
      const usage = event.model_usage
      const tokens =
        usage === undefined
          ? ''
          : `: ${usage.input_tokens + usage.cache_read_input_tokens} in, ${usage.output_tokens} out`
      return { who: `model request ended${tokens}`, kind: 'state' }
    }
    default:
      return { who: type.replace(/^\w+\./, '').replaceAll('_', ' '), kind: 'state' }
  }
}

const textOf = ({ content = [] }: AnyEvent): string =>
  content.map((block) => (typeof block === 'string' ? block : (block.text ?? `[${block.type}]`))).join('\n')

const SHORT = 240

/** Long texts open on demand. */
function Folded({ text, line: brief }: { text: string | undefined; line?: string }) {
  if (text === undefined || text === '') return null
  if (text.length <= SHORT && !text.includes('\n')) return <pre>{text}</pre>
  const [first = ''] = text.trim().split('\n')
  const line = brief ?? first
  return (
    <details>
      <summary>
        <code>{line.length > 100 ? `${line.slice(0, 100)}…` : line}</code>
      </summary>
      <pre>{text}</pre>
    </details>
  )
}
