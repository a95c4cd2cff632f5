import { StartError } from '../errors.ts'
import { HostCgroup } from '../process/cgroup.ts'
import type { Controller } from '../process/cgroup-tree.ts'

const ADVICE =
  'run the host as root, or give it a cgroup of its own to divide: Delegate=yes in systemd (docs/isolation.md says more); claude-agent-pool doctor shows what is there'

/** The cgroups of a host whose workers are to be limited in this way. Throws StartError if there can be none. */
export function openCgroups(wanted: readonly Controller[], root?: string): HostCgroup | undefined {
  const cgroup = HostCgroup.make(root === undefined ? { wanted } : { wanted, root })
  const missing = wanted.filter((name) => cgroup?.facts.controllers.includes(name) !== true)
  if (missing.length === 0) return cgroup
  cgroup?.remove()
  const names = missing.map((name) => `isolation.${name}`).join(', ')
  throw new StartError(
    'isolation',
    `${names} cannot be held: there is no cgroup for each worker. To have one, ${ADVICE}`,
  )
}
