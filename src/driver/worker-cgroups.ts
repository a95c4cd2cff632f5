import { StartError } from '../errors.ts'
import { HostCgroup } from '../process/cgroup.ts'
import { swapSpace } from '../process/cgroup-memory.ts'
import { CONTROLLERS } from '../process/cgroup-tree.ts'
import type { Controller } from '../process/cgroup-tree.ts'

const ADVICE =
  'run the host as root, or give it a cgroup of its own to divide: Delegate=yes in systemd (docs/isolation.md says more); claude-agent-pool doctor shows what is there'

/**
 * The cgroups of a host whose workers are to be limited in this way. `freezes`: they are to be frozen as well, if there is swap and a
 * cgroup that counts memory. Throws StartError if limits cannot be held.
 */
export function openCgroups(
  limited: readonly Controller[],
  { freezes = false, root }: { freezes?: boolean; root?: string } = {},
): HostCgroup | undefined {
  const counts = freezes && swapSpace(root).totalBytes > 0
  const wanted = CONTROLLERS.filter((name) => limited.includes(name) || (counts && name === 'memory'))
  const cgroup = HostCgroup.make(root === undefined ? { wanted } : { wanted, root })
  const missing = limited.filter((name) => cgroup?.facts.controllers.includes(name) !== true)
  if (missing.length === 0) return cgroup
  cgroup?.remove()
  const names = missing.map((name) => `isolation.${name}`).join(', ')
  throw new StartError(
    'isolation',
    `${names} cannot be held: there is no cgroup for each worker. To have one, ${ADVICE}`,
  )
}
