import { useState } from 'preact/hooks'
import { act } from './dialog.tsx'
import { sections, showView } from '../state.ts'

/** Says something to the agent of a session. `agent`: of one that does not exist yet. */
export function Composer({ tenant, name: key, agent }: { tenant: string; name: string; agent: string | undefined }) {
  const [text, setText] = useState('')
  const [busy, setBusy] = useState(false)
  const { info } = sections.session.value
  const begins = agent !== undefined
  if (info === null && !begins) return null
  const send = async (): Promise<void> => {
    const prompt = text.trim()
    if (prompt === '' || busy) return
    setBusy(true)
    const sent = await act({ do: 'send', tenant, key, prompt, ...(begins ? { agent } : {}) })
    if (sent) setText('')
    // A session that has begun has events to follow now.
    if (begins) await showView()
    setBusy(false)
  }
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault()
        void send()
      }}
    >
      <label>
        <span class="unseen">Message to the agent</span>
        <textarea
          rows={2}
          placeholder="Message to the agent. Enter sends, Shift+Enter begins a line."
          value={text}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
            event.preventDefault()
            void send()
          }}
        />
      </label>
      <button type="submit" class="primary" disabled={busy || text.trim() === ''}>
        Send
      </button>
    </form>
  )
}
