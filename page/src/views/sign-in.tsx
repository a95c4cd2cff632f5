import { useRef } from 'preact/hooks'
import { signIn, signInProblem } from '../state.ts'

export function SignIn() {
  const input = useRef<HTMLInputElement>(null)
  return (
    <main class="sign-in">
      <h1>claude-agent-pool</h1>
      <p>
        This page needs the key of an operator. If the server has no keys, it needs the key in the address that the
        server printed when it started. Keys of tenants do not open this page.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          const key = input.current?.value.trim() ?? ''
          if (key !== '') signIn(key)
        }}
      >
        <label>
          Key
          <input ref={input} type="password" autocomplete="current-password" required autofocus />
        </label>
        {signInProblem.value !== undefined && (
          <p class="bad-text" role="alert">
            {signInProblem.value}
          </p>
        )}
        <button type="submit" class="primary">
          Open
        </button>
      </form>
      <p class="quiet">The key stays in this tab, and is sent to this server alone.</p>
    </main>
  )
}
