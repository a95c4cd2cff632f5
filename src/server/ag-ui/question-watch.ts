import type { SessionRef } from '../../index.ts'
import type { Question, Questions } from '../questions.ts'

/** When to look at the questions of a session. */
interface Watch extends Disposable {
  /** Resolves when it is time to look at the questions. */
  readonly due: Promise<void>
  /** It is. */
  look(): void
  /** A reader is there: from now on only new questions count. */
  reset(): void
}

/** Says when to look at the questions of a session: at the beginning, when one is asked, and when told. */
export function watch(questions: Questions, session: Pick<SessionRef, 'tenant' | 'key'>): Watch {
  let next = Promise.withResolvers<void>()
  const look = (): void => next.resolve()
  const heard = ({ session: { tenant, key } }: Question): void => {
    if (tenant === session.tenant && key === session.key) look()
  }
  questions.events.on('asked', heard)
  look()
  return {
    get due() {
      return next.promise
    },
    look,
    reset() {
      next = Promise.withResolvers<void>()
    },
    [Symbol.dispose]() {
      questions.events.off('asked', heard)
    },
  }
}
