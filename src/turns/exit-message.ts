import type { ExitFacts } from '../driver/driver.ts'
import type { CloseReason } from '../worker/worker.ts'

/** Says how the process of a turn ended. `handedOver`: it had the prompt, or may have had it. */
export function exitMessage(
  { cause, exitCode, signal, violation, stderr }: ExitFacts,
  reason: CloseReason,
  handedOver: boolean,
): string {
  const kernel = signal === null ? `with exit code ${exitCode}` : `by ${signal}`
  const how = {
    normal: kernel,
    crash: kernel,
    signal: kernel,
    out_of_memory: 'because the kernel killed it for memory',
    ended: `because the pool ended it (${violation ?? reason})`,
    not_started: 'before it was started',
  }[cause]
  const said = stderr.trim() === '' ? '' : `; stderr: ${stderr.trim()}`
  const turn = handedOver
    ? "during the turn; the prompt may have run, and the session's next turn resumes"
    : 'before it was handed the prompt; nothing was sent, so send it again'
  return `the agent process ended ${how} ${turn}${said}`
}
