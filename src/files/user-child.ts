/*
 * A process of a host that is root. It makes calls of the file system with the rights of the users that own the folders of
 * tenants, one call at a time. It ends with its host.
 */
import { nodeCalls } from './calls.ts'
import type { CallAnswer, CallRequest } from './user-calls.ts'

let current = 0

/** The kernel checks the effective user, who has no capabilities. The real one stays root, so that no user may signal this process. */
function become(uid: number): void {
  if (uid === current) return
  process.seteuid?.(0)
  process.setegid?.(uid)
  process.seteuid?.(uid)
  current = uid
}

async function work({ call, args }: CallRequest): Promise<unknown> {
  if (call === 'read') {
    const [fd, length, position] = args as [number, number, number]
    const buffer = Buffer.allocUnsafe(length)
    return buffer.subarray(0, await nodeCalls.read(fd, buffer, position))
  }
  const value = await (nodeCalls[call] as (...given: unknown[]) => unknown)(...args)
  return call === 'fstat' || call === 'lstat' ? { ...(value as object) } : value
}

async function answer(request: CallRequest): Promise<void> {
  const { id, uid } = request
  const say = (said: CallAnswer): void => void (id !== undefined && process.send?.(said))
  try {
    become(uid)
    const value = await work(request)
    say({ id: id ?? 0, value })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    say({ id: id ?? 0, error: { ...(code === undefined ? {} : { code }), message } })
  }
}

let last = Promise.resolve()
process.setgroups?.([])
process.on('message', (request: CallRequest) => {
  last = last.then(() => answer(request))
})
process.on('disconnect', () => process.exit(0))
