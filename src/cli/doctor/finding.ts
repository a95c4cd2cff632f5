/** `mend`: the pool will not work, or not safely, before somebody has done something. */
export type Verdict = 'ok' | 'warning' | 'mend'

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
export function verdicts(check: string): { ok: Check; warning: Complaint; mend: Complaint } {
  return {
    ok: (says) => ({ check, verdict: 'ok', says }),
    warning: (says, advice) => ({ check, verdict: 'warning', says, advice }),
    mend: (says, advice) => ({ check, verdict: 'mend', says, advice }),
  }
}
