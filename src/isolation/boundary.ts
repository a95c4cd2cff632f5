import type { EgressLists } from '../egress/rules.ts'
import type { SandboxedCommand } from './sandbox.ts'

/** What a process behind a boundary reaches beside its own places. */
export interface Confinement {
  network: 'open' | 'model' | { socket: string; allow: EgressLists }
  /** The user of its tenant, if tenants have users. */
  owner?: number | undefined
}

/** A command that runs another one behind a boundary. */
export interface Wrapped {
  command: string
  args: string[]
  env: SandboxedCommand['env']
  /** Its signals and exits are those of the process inside. */
  isSandbox: boolean
}

/** Where a boundary is tried. */
export interface BoundaryPlaces {
  dataDir: string
  storeFile: string
  path: string | undefined
  /** Programs that every process needs. */
  programs?: readonly string[]
}
