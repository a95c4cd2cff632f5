import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import { ConfirmDialog, Toasts } from './parts/dialog.tsx'
import { connection, hello, now, place, sections, signOut } from './state.ts'
import type { Place } from './state.ts'
import { Agents } from './views/agents.tsx'
import { Overview } from './views/overview.tsx'
import { SessionView } from './views/session.tsx'
import { Sessions } from './views/sessions.tsx'
import { SignIn } from './views/sign-in.tsx'
import { Talk } from './views/talk.tsx'
import { Warnings } from './views/warnings.tsx'
import { Workers } from './views/workers.tsx'

const PLACES: { at: Place['at']; name: string; href: string }[] = [
  { at: 'overview', name: 'Overview', href: '#/' },
  { at: 'sessions', name: 'Sessions', href: '#/sessions' },
  { at: 'workers', name: 'Workers', href: '#/workers' },
  { at: 'agents', name: 'Agents', href: '#/agents' },
  { at: 'warnings', name: 'Warnings', href: '#/warnings' },
  { at: 'talk', name: 'Talk', href: '#/talk' },
]

export function App() {
  const at = place.value.at
  useEffect(() => {
    const known = PLACES.find((each) => each.at === at)
    document.title = `${known?.name ?? 'Session'} · claude-agent-pool`
    document.getElementById('main')?.focus({ preventScroll: true })
  }, [at])
  if (connection.value === 'signed out') return <SignIn />
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Navigation />
      <main id="main" tabIndex={-1} aria-busy={hello.value === undefined}>
        {connection.value === 'lost' && (
          <p class="banner" role="status">
            The connection to the server is lost. What is shown is from before; it is tried again.
          </p>
        )}
        <View />
      </main>
      <ConfirmDialog />
      <Toasts />
    </>
  )
}

function skip(event: Event): void {
  // The address belongs to the views.
  event.preventDefault()
  document.getElementById('main')?.focus()
}

function View() {
  const { value } = place
  switch (value.at) {
    case 'overview':
      return <Overview />
    case 'sessions':
      return <Sessions />
    case 'session':
      return (
        <SessionView key={`${value.tenant}/${value.key}`} tenant={value.tenant} name={value.key} agent={value.agent} />
      )
    case 'workers':
      return <Workers />
    case 'agents':
      return <Agents />
    case 'warnings':
      return <Warnings />
    case 'talk':
      return <Talk />
  }
}

function Navigation() {
  const at = place.value.at === 'session' ? 'sessions' : place.value.at
  const { overview, notices } = sections
  const { turns, workers, sessions } = overview.value
  const bad = Object.values(notices.value).filter((notice) => notice !== undefined && notice.level !== 'info').length
  const counts: Partial<Record<Place['at'], ComponentChildren>> = {
    overview: turns && <Count value={turns.running} label="turns run" />,
    sessions: sessions && <Count value={sessions.listed} label="sessions" />,
    workers: workers && <Count value={workers.total} label="workers" />,
    warnings: bad > 0 && <Count value={bad} label="warnings" loud />,
  }
  return (
    <nav aria-label="Parts of the page">
      <p class="brand">
        <Mark />
        <span>
          claude-agent-pool <small>{hello.value?.version}</small>
        </span>
      </p>
      <ul>
        {PLACES.map((each) => (
          <li key={each.at}>
            <a href={each.href} aria-current={each.at === at ? 'page' : undefined}>
              {each.name}
              {counts[each.at]}
            </a>
          </li>
        ))}
      </ul>
      <Connection />
    </nav>
  )
}

const Mark = () => (
  <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
    <rect width="32" height="32" rx="8" class="mark" />
    <path d="M7 11h11M7 16.5h18M7 22h7" class="mark-lines" />
  </svg>
)

const Count = ({ value, label, loud = false }: { value: number; label: string; loud?: boolean }) => (
  <span class={loud ? 'count loud' : 'count'}>
    {value.toLocaleString('en')}
    <span class="unseen"> {label}</span>
  </span>
)

function Connection() {
  const { value } = connection
  const said = { live: 'Live', connecting: 'Connecting', lost: 'Not connected', 'signed out': 'Signed out' }[value]
  return (
    <div class="connection">
      <p role="status">
        <span class={`dot ${value === 'live' ? 'good' : 'bad'}`} aria-hidden="true" /> {said}
      </p>
      <p class="quiet">
        {new Date(now.value).toLocaleTimeString()}
        {hello.value?.keyed === true && <> · {hello.value.operator}</>}
      </p>
      {hello.value?.keyed === true && (
        <button type="button" class="plain" onClick={signOut}>
          Sign out
        </button>
      )}
    </div>
  )
}
