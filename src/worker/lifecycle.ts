/** `starting → idle ⇄ busy → closing → closed`. `idle` means initialised, not merely spawned. */
export type WorkerState = 'starting' | 'idle' | 'busy' | 'closing' | 'closed'

/** What can happen to a worker. `leave`: it is told to go; `gone`: its process and all it started have ended. */
export type WorkerEvent = 'ready' | 'begin' | 'finish' | 'leave' | 'gone'

const TRANSITIONS: Readonly<Record<WorkerState, Readonly<Partial<Record<WorkerEvent, WorkerState>>>>> = {
  starting: { ready: 'idle', leave: 'closing' },
  idle: { begin: 'busy', leave: 'closing' },
  busy: { finish: 'idle', leave: 'closing' },
  closing: { gone: 'closed' },
  closed: {},
}

/** The state after `event`, or undefined where the table has no such cell. */
export const nextState = (state: WorkerState, event: WorkerEvent): WorkerState | undefined => TRANSITIONS[state][event]
