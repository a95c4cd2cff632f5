/** `error`: the pool does not work, or not safely, until the operator repairs it. */
export type Verdict = 'ok' | 'warning' | 'error'

/** What one check of `doctor` found. */
export interface Finding {
  check: string
  verdict: Verdict
  /** What is so. */
  says: string
  /** What to do about it; there for every verdict but `ok`. */
  advice?: string
}

type Check = (says: string) => Finding
type Complaint = (says: string, advice: string) => Finding

/** The three verdicts of one check. */
export function verdicts(check: string): { ok: Check; warning: Complaint; error: Complaint } {
  return {
    ok: (says) => ({ check, verdict: 'ok', says }),
    warning: (says, advice) => ({ check, verdict: 'warning', says, advice }),
    error: (says, advice) => ({ check, verdict: 'error', says, advice }),
  }
}
