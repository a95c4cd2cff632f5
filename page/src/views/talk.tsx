import { useState } from 'preact/hooks'
import { hello, sessionHref } from '../state.ts'

/** Where a conversation begins. */
export function Talk() {
  const agents = hello.value?.agents ?? []
  const [agent, setAgent] = useState<string | undefined>(undefined)
  const [tenant, setTenant] = useState('default')
  const [key, setKey] = useState('operator')
  return (
    <>
      <header class="head">
        <h1>Talk to an agent</h1>
      </header>
      <form
        class="card form"
        onSubmit={(event) => {
          event.preventDefault()
          location.hash = sessionHref(tenant, key, agent ?? agents[0])
        }}
      >
        <label>
          Agent
          <select value={agent ?? agents[0]} onChange={({ currentTarget }) => setAgent(currentTarget.value)}>
            {agents.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          Session
          <input required maxLength={200} value={key} onInput={({ currentTarget }) => setKey(currentTarget.value)} />
        </label>
        <label>
          Tenant
          <input
            required
            maxLength={200}
            value={tenant}
            onInput={({ currentTarget }) => setTenant(currentTarget.value)}
          />
        </label>
        <p class="quiet">
          A session that exists goes on. What you say is part of its conversation, and counts to its tenant.
        </p>
        <button type="submit" class="primary" disabled={agents.length === 0}>
          Open
        </button>
      </form>
    </>
  )
}
