import type { IsolationOptions } from '../../src/options/isolation.ts'

/** The modes of this version, by the names of their columns. */
export const MODES = ['none', 'user', 'bubblewrap', 'list', 'model alone'] as const
export type Mode = (typeof MODES)[number]

/** What a server writes for a mode. `localhost` is listed to see that a listed name does not lead into the machine. */
export const isolationOf = (mode: Mode, port: number): IsolationOptions => {
  switch (mode) {
    case 'none':
      return { mode: 'none' }
    case 'user':
      return { mode: 'user', egress: 'open' }
    case 'bubblewrap':
      return { mode: 'bubblewrap', egress: 'open' }
    case 'list':
      return { mode: 'bubblewrap', egress: { allow: [`localhost:${port}`, 'listed.example:443'] } }
    case 'model alone':
      return { mode: 'bubblewrap', egress: 'none' }
    default:
      return mode satisfies never
  }
}

/** Whether an attack works. The host can change cgroups as root, or if it has one to divide. Memory is open if processes of one user can read each other's: as root, or with `kernel.yama.ptrace_scope` 0. */
export type Cell = 'yes' | 'no' | 'as root' | 'if the host can' | 'if memory is open' | 'if the kernel allows'

export interface Row {
  attack: string
  cells: readonly [none: Cell, user: Cell, bubblewrap: Cell, list: Cell, modelAlone: Cell]
}

const everywhere = (attack: string, cell: Cell): Row => ({ attack, cells: [cell, cell, cell, cell, cell] })
const onlyWithout = (attack: string, cell: Cell = 'yes'): Row => ({
  attack,
  cells: [cell, 'no', 'no', 'no', 'no'],
})
const unlessSandboxed = (attack: string, cell: Cell = 'yes'): Row => ({
  attack,
  cells: [cell, cell, 'no', 'no', 'no'],
})
const byNetwork = (attack: string): Row => ({ attack, cells: ['yes', 'yes', 'yes', 'no', 'no'] })

/** Each attack, and what is to come of it in each mode. */
export const DESIGN: Readonly<Record<string, Row>> = {
  environ: onlyWithout('read the host’s environment'),
  descriptors: onlyWithout('take the host’s descriptors'),
  signal: onlyWithout('signal the host'),
  processes: unlessSandboxed('see other processes'),
  store: onlyWithout('read the store'),
  tenant: onlyWithout('read another tenant’s files'),
  secret: onlyWithout('read the secret of the control socket'),
  control: onlyWithout('connect to the control socket'),
  model: onlyWithout('connect to another worker’s socket to the model'),
  remote: onlyWithout('use the remote of another worker'),
  limit: onlyWithout('raise the limits of its cgroup', 'if the host can'),
  leave: onlyWithout('leave its cgroup', 'if the host can'),
  otherCgroup: onlyWithout('change or freeze the cgroup of another worker', 'if the host can'),
  system: onlyWithout('change the system’s files', 'as root'),
  namespace: unlessSandboxed('make user namespaces', 'if the kernel allows'),
  abstract: byNetwork('connect to abstract sockets'),
  loopback: byNetwork('connect to loopback by TCP'),
  udp: byNetwork('send UDP'),
  unlisted: byNetwork('reach a place that is not listed'),
  rebound: byNetwork('reach the machine by a listed name'),
  operations: byNetwork('read the operations port on loopback'),
  api: byNetwork('use the API of a server without keys'),
  page: onlyWithout('act on the page of a server without keys'),
  peers: everywhere('use the port of a cluster without its secret', 'no'),
  outlive: unlessSandboxed('outlive a SIGKILLed host without a sentinel'),
  keyShown: everywhere('find the real key in an environment or argument', 'no'),
  keyStored: everywhere('find the real key in a file', 'no'),
  keyInMemory: onlyWithout('find the real key in the memory of host or proxy', 'if memory is open'),
  keyOfAgent: everywhere('have the real key in its own processes, mapped files included', 'no'),
  forge: everywhere('change its own transcript', 'yes'),
}

/** The table of the documentation. */
export function designTable(): string {
  const lines = Object.values(DESIGN).map(({ attack, cells }) => `| ${[attack, ...cells].join(' | ')} |`)
  return [
    '| attack | `none` | `user` | `bubblewrap` | with a list | the model alone |',
    '|---|---|---|---|---|---|',
    ...lines,
  ].join('\n')
}
