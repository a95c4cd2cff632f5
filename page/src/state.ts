import { batch, computed, effect, signal } from '@preact/signals'
import type { Delta, Hello, ListView, SectionDelta, Sections, ShownEvent, View } from '../../src/server/page/wire.ts'
import { LiveStream, messageOf } from './stream.ts'

/** All that the page knows. Sections come from the stream; the rest is the page's own. */
const KEY_ITEM = 'claude-agent-pool operator key'

/** Of one session; the oldest go. */
const MAX_EVENTS = 1_000

/** A hidden page is disconnected after this. */
const HIDDEN_MS = 60_000

export const hello = signal<Hello | undefined>(undefined)
export const connection = signal<'connecting' | 'live' | 'lost' | 'signed out'>('connecting')
export const signInProblem = signal<string | undefined>(undefined)
/** The server's clock, by the second. */
export const now = signal(Date.now())

const section = <Name extends keyof Sections>() => signal<Partial<Sections[Name]>>({})

export const sections = {
  overview: section<'overview'>(),
  hosts: section<'hosts'>(),
  agents: section<'agents'>(),
  notices: section<'notices'>(),
  samples: section<'samples'>(),
  workers: section<'workers'>(),
  list: section<'list'>(),
  listed: section<'listed'>(),
  session: section<'session'>(),
  turns: section<'turns'>(),
}

export const events = signal<readonly ShownEvent[]>([])
/** The text of the message that the agent is saying now. */
export const saying = signal<{ id: string; text: string } | undefined>(undefined)

/** Where the page is, from the part of its address after `#`. */
export type Place =
  | { at: 'overview' | 'sessions' | 'workers' | 'agents' | 'warnings' | 'talk' }
  | { at: 'session'; tenant: string; key: string; agent?: string }

export const place = signal<Place>(placeOf(location.hash))

export const listView = signal<ListView>({ search: '', sort: 'phase', descending: false, offset: 0, limit: 50 })

function placeOf(hash: string): Place {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  const [at = '', tenant, key] = path.split('/').map(decoded)
  if (at === 'sessions' && tenant !== undefined && key !== undefined) {
    const agent = new URLSearchParams(query).get('agent')
    return { at: 'session', tenant, key, ...(agent === null ? {} : { agent }) }
  }
  return at === 'sessions' || at === 'workers' || at === 'agents' || at === 'warnings' || at === 'talk'
    ? { at }
    : { at: 'overview' }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export const sessionHref = (tenant: string, key: string, agent?: string): string =>
  `#/sessions/${encodeURIComponent(tenant)}/${encodeURIComponent(key)}${agent === undefined ? '' : `?agent=${encodeURIComponent(agent)}`}`

const view = computed((): View => {
  const { value } = place
  if (value.at === 'sessions') return { list: listView.value }
  if (value.at === 'session') return { session: { tenant: value.tenant, key: value.key } }
  return { workers: value.at === 'overview' || value.at === 'workers' || value.at === 'agents' }
})

const headers = (): Record<string, string> => {
  const key = sessionStorage.getItem(KEY_ITEM)
  return { 'x-claude-agent-pool-page': '1', ...(key === null ? {} : { 'x-api-key': key }) }
}

const stream = new LiveStream(
  {
    hello(said) {
      batch(() => {
        for (const each of Object.values(sections)) each.value = {}
        events.value = []
        saying.value = undefined
        hello.value = said
        connection.value = 'live'
        signInProblem.value = undefined
      })
      tick(said.now)
    },
    delta: applied,
    lost() {
      connection.value = 'lost'
    },
    refused(message) {
      signInProblem.value = sessionStorage.getItem(KEY_ITEM) === null ? undefined : message
      sessionStorage.removeItem(KEY_ITEM)
      connection.value = 'signed out'
    },
  },
  () => JSON.stringify(view.value),
  headers,
)

/** How far the server's clock is ahead of this one. */
let ahead = 0

function tick(serverNow?: number): void {
  if (serverNow !== undefined) ahead = serverNow - Date.now()
  now.value = Date.now() + ahead
}

function applied(delta: Delta): void {
  batch(() => {
    for (const [name, change] of Object.entries(delta.sections ?? {}) as [keyof Sections, SectionDelta][]) {
      const target = sections[name] as { value: object }
      const next = { ...(change.fresh ? {} : target.value), ...change.set } as Record<string, unknown>
      for (const key of change.gone ?? []) delete next[key]
      target.value = next
    }
    if (delta.freshEvents) {
      events.value = []
      saying.value = undefined
    }
    if (delta.events !== undefined) heard(delta.events)
  })
  ahead = delta.now - Date.now()
}

function heard(entries: readonly ShownEvent[]): void {
  const kept: ShownEvent[] = []
  let said = saying.value
  for (const entry of entries) {
    const event = entry.event as {
      type: string
      id?: string
      event?: { id: string }
      event_id?: string
      delta?: { content: { text: string } }
    }
    if (event.type === 'event_start') said = { id: event.event?.id ?? '', text: '' }
    else if (event.type === 'event_delta') {
      const { event_id: id = '', delta } = event
      said = { id, text: (said?.id === id ? said.text : '') + (delta?.content.text ?? '') }
    } else {
      if (event.id === said?.id || event.type === 'session.status_idle') said = undefined
      kept.push(entry)
    }
  }
  saying.value = said
  if (kept.length > 0) events.value = [...events.value, ...kept].slice(-MAX_EVENTS)
}

/** Loads the events before the first one shown. Resolves with their number. */
export async function loadEarlier(tenant: string, key: string): Promise<number> {
  const first = events.value[0]?.number ?? 1
  const query = new URLSearchParams({ tenant, key, before: String(first) })
  const response = await fetch(`page/events?${query}`, { headers: headers() })
  if (!response.ok) throw new Error(await messageOf(response))
  const { events: earlier } = (await response.json()) as { events: ShownEvent[] }
  events.value = [...earlier, ...events.value]
  return earlier.length
}

/** Posts JSON to the server. Throws with what it says when it refuses. */
export async function post<T>(path: 'page/action' | 'page/view', body: object): Promise<T> {
  const response = await fetch(path, { method: 'POST', headers: headers(), body: JSON.stringify(body) })
  if (response.status === 401) connection.value = 'signed out'
  if (!response.ok) throw new Error(await messageOf(response))
  return (response.status === 204 ? undefined : await response.json()) as T
}

export function signIn(key: string): void {
  sessionStorage.setItem(KEY_ITEM, key)
  connection.value = 'connecting'
  stream.open()
}

export function signOut(): void {
  sessionStorage.removeItem(KEY_ITEM)
  hello.value = undefined
  connection.value = 'signed out'
  stream.close()
}

/** Tells the server what is shown now; it answers on the stream. */
export async function showView(): Promise<void> {
  const id = hello.value?.stream
  if (id === undefined || connection.value !== 'live') return
  // A stream that has ended meanwhile is opened with the view of then.
  await post('page/view', { stream: id, view: view.value }).catch(() => undefined)
}

/** Takes the key out of the address, where it would stay in the history. */
function takeKey(): void {
  const key = /^#key=([\w-]+)$/.exec(location.hash)?.[1]
  if (key === undefined) return
  sessionStorage.setItem(KEY_ITEM, key)
  history.replaceState(null, '', location.pathname)
}

/** Connects, and follows the address, the clock and whether the page can be seen. */
export function start(): void {
  takeKey()
  addEventListener('hashchange', () => (place.value = placeOf(location.hash)))
  let first = true
  let sent: ReturnType<typeof setTimeout> | undefined
  effect(() => {
    void view.value
    if (first) return void (first = false)
    clearTimeout(sent)
    sent = setTimeout(() => void showView(), 60)
  })
  setInterval(() => tick(), 1_000)
  let hidden: ReturnType<typeof setTimeout> | undefined
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hidden)
    if (document.visibilityState === 'hidden') {
      hidden = setTimeout(() => {
        stream.close()
        connection.value = connection.value === 'signed out' ? 'signed out' : 'lost'
      }, HIDDEN_MS)
    } else if (connection.value === 'lost') stream.open()
  })
  stream.open()
}
