import { totalmem } from 'node:os'

/** Bytes that this process may use: its container's limit where there is one, else the machine's memory. */
export function memoryLimitBytes(): number {
  const constrained = process.constrainedMemory()
  // Without a limit, cgroup v1 reports a number near 2^63.
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem()
}
