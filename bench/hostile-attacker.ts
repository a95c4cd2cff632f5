/** A hostile tenant in a process of its own: it does what it is told, by name. */
import { ATTACKS } from './shared/attacks.ts'
import type { Attacked } from './shared/attacks.ts'

process.on('message', ({ name, target }: { name: string; target: Attacked }) => {
  void ATTACKS[name]?.(target).finally(() => process.send?.(name))
})
