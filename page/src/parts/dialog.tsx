import { signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { Action } from '../../../src/server/page/wire.ts'
import { post } from '../state.ts'

interface Asked {
  title: string
  text: string
  verb: string
  dangerous: boolean
  act: () => Promise<void>
}

interface Toast {
  id: number
  text: string
  bad: boolean
}

const asked = signal<Asked | undefined>(undefined)
const toasts = signal<readonly Toast[]>([])
let numbers = 0

const SHOWN_MS = 8_000

/** Says what came of something, for a while. */
export function tell(text: string, bad = false): void {
  numbers += 1
  const toast = { id: numbers, text, bad }
  toasts.value = [...toasts.value, toast].slice(-4)
  setTimeout(() => (toasts.value = toasts.value.filter((each) => each !== toast)), SHOWN_MS)
}

/** Does something, and says what came of it. True if it was done. */
export async function act(action: Action): Promise<boolean> {
  try {
    tell((await post<{ said: string }>('page/action', action)).said)
    return true
  } catch (error) {
    tell((error as Error).message, true)
    return false
  }
}

/** Asks before it acts. */
export function confirm(
  action: Action,
  words: { title: string; text: string; verb: string; dangerous?: boolean },
): void {
  asked.value = { dangerous: false, ...words, act: async () => void (await act(action)) }
}

export function ConfirmDialog() {
  const dialog = useRef<HTMLDialogElement>(null)
  const { value } = asked
  useEffect(() => {
    if (value !== undefined) dialog.current?.showModal()
    else dialog.current?.close()
  }, [value])
  const leave = (): void => void (asked.value = undefined)
  return (
    <dialog ref={dialog} onClose={leave} aria-labelledby="asked">
      {value !== undefined && (
        <>
          <h2 id="asked">{value.title}</h2>
          <p>{value.text}</p>
          <div class="buttons">
            <button type="button" onClick={leave}>
              Cancel
            </button>
            <button
              type="button"
              class={value.dangerous ? 'danger' : 'primary'}
              autofocus
              onClick={() => {
                leave()
                void value.act()
              }}
            >
              {value.verb}
            </button>
          </div>
        </>
      )}
    </dialog>
  )
}

export const Toasts = () => (
  <div class="toasts" role="status" aria-live="polite">
    {toasts.value.map(({ id, text, bad }) => (
      <p key={id} class={bad ? 'bad' : ''}>
        {text}
      </p>
    ))}
  </div>
)
