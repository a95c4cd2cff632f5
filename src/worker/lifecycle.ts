/** `starting → idle ⇄ busy → closing → closed`, and `idle ⇄ frozen`. `idle` means initialised, not merely spawned. */
export type WorkerState = 'starting' | 'idle' | 'frozen' | 'busy' | 'closing' | 'closed'

/** What can happen to a worker. `leave`: it is told to go; `gone`: its process and all it started have ended. */
export type WorkerEvent = 'ready' | 'begin' | 'finish' | 'freeze' | 'thaw' | 'leave' | 'gone'

const TRANSITIONS: Readonly<Record<WorkerState, Readonly<Partial<Record<WorkerEvent, WorkerState>>>>> = {
  starting: { ready: 'idle', leave: 'closing' },
  idle: { begin: 'busy', freeze: 'frozen', leave: 'closing' },
  frozen: { thaw: 'idle', leave: 'closing' },
  busy: { finish: 'idle', leave: 'closing' },
  closing: { gone: 'closed' },
  closed: {},
}

/** The state after `event`, or undefined where the table has no such cell. */
export const nextState = (state: WorkerState, event: WorkerEvent): WorkerState | undefined => TRANSITIONS[state][event]
